"""What an agent remembers of an application, whatever order its news arrive in."""

from dataclasses import replace

from leeward.agent.machine.application import Application
from leeward.core.values import Region, Role, Sender
from leeward.ports.gateway import Carried
from tests.core.views import AP, EU, SETTINGS, US, report, status


def test_of_one_managers_statuses_the_newest_counts_whenever_it_arrives() -> None:
    app = Application(SETTINGS)
    newer, older = status(lsn=200, clock_s=8.0), status(lsn=100, clock_s=7.9)
    app.report_instance(newer, 50.0)
    app.report_instance(older, 50.1)
    assert (app.instance, app.reported_at_s) == (newer, 50.0)
    restarted = replace(older, incarnation="b")
    app.report_instance(restarted, 50.2)
    assert app.instance == restarted


def test_a_lag_is_as_old_as_the_first_wal_that_is_missing() -> None:
    app = Application(SETTINGS)
    for at_s, lsn in ((10.0, 100), (11.0, 200), (12.0, 300)):
        behind = (Sender(EU, True, 150, 150, False),)
        app.report_instance(status(Role.PRIMARY, lsn=lsn, clock_s=at_s, senders=behind), at_s)
    assert app.lags_s(13.0) == {EU: 2.0}
    app.report_instance(status(Role.PRIMARY, lsn=300, clock_s=13.0, senders=(Sender(EU, True, 300, 300, False),)), 13.0)
    assert app.lags_s(13.0) == {EU: 0.0}


def test_arriving_wal_is_reported_by_a_standby_that_streams_from_the_primary() -> None:
    app = Application(SETTINGS)

    def arrived(lsn: int, at_s: float, *, upstream: Region = US, role: Role = Role.STANDBY) -> float | None:
        app.follow_wal(EU, US, report(role, lsn=lsn, upstream=upstream), at_s)
        known = app.wal_arrived.get(EU)
        return known[1] if known is not None else None

    assert arrived(100, 1.0) == float("-inf"), "where it is, not that anything arrives"
    assert arrived(100, 2.0) == float("-inf")
    assert arrived(200, 3.0) == 3.0
    assert arrived(200, 4.0) == 3.0
    assert arrived(300, 5.0, upstream=AP) is None, "it streams from another standby"
    assert arrived(300, 6.0) == float("-inf")
    assert arrived(400, 7.0, role=Role.DETACHED) is None


def test_a_path_is_broken_when_it_fails_twice_in_a_row() -> None:
    app = Application(SETTINGS)
    app.report_instance(status(), 0.0)
    fails, works = Carried({EU: "no answer"}), Carried()
    seen = []
    for carried in (fails, works, fails, fails, works):
        app.paths_tried(carried)
        seen.append(dict(app.report(0.0).broken_paths))
    assert seen == [{}, {}, {}, {EU: "no answer"}, {}]
