"""What a story tells of a trace, and what it leaves out."""

from leeward.sim.story import sentences


def line(at_s: float, who: str, what: str) -> str:
    return f"{at_s:9.3f} s  {who:<14} {what}"


def test_waiting_that_says_nothing_new_is_left_out_and_a_failover_that_is_put_off_is_told() -> None:
    trace = [
        line(1.0, "*", "region-loss us for 9.00 s"),
        line(2.0, "ap", "us holds its lease"),
        line(2.5, "ap", "waiting until us has certainly stopped"),
        line(3.0, "ap", "eu has just become primary; waiting for its next heartbeat"),
        line(3.1, "us", "eu has just become primary; waiting for its next heartbeat"),
        line(3.2, "ap", "eu was last heard 2.1 s ago, its lease is over, and ap, us cannot see it serving"),
    ]
    told = [each.rpartition("  ")[2] for each in sentences(trace)]
    assert told == [
        "region-loss us for 9.00 s",
        "eu has just become primary; waiting for its next heartbeat",
        "eu was last heard 2.1 s ago, its lease is over, and ap, us cannot see it serving",
    ]
