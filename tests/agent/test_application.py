"""What an agent remembers of an application, whatever order its news arrive in."""

from dataclasses import replace

from leeward.agent.application import Application
from leeward.core.values import Region, Role, Sender
from tests.core.views import SETTINGS, status

EU = Region("eu")


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
