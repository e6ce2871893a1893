"""What ``leeward resolve`` prints."""

from leeward.cli.console import Colour, Console
from leeward.cli.resolution import render
from leeward.operate.resolution import Resolution, Resolved

EAST = Resolved("east", None, (), (), None, "lost: connection refused")
WEST = Resolved("west", "NOERROR", ("west",), ("127.10.2.2",), 1, None)
FAR = Resolved("far", "SERVFAIL", (), (), None, None)


def test_answers_and_what_they_leave_out() -> None:
    left_out = {"east": "west, far cannot see east serving"}
    resolution = Resolution("shop", "shop.example.com", "east", (EAST, WEST, FAR), left_out)
    assert render(Console(Colour.NEVER), resolution) == (
        "shop.example.com, for users near east\n"
        "\n"
        "ASKED-IN   LEADS-TO                   ADDRESS      TTL\n"
        "east       lost: connection refused   -            -\n"
        "west       west                       127.10.2.2   1s\n"
        "far        SERVFAIL                   -            -\n"
        "left out: east, because west, far cannot see east serving"
    )


def test_each_servers_own_users() -> None:
    shown = render(Console(Colour.NEVER), Resolution("shop", "shop.example.com", None, (WEST,), {}))
    assert shown.startswith("shop.example.com, for its own users\n")
