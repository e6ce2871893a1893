"""What counts as news to the readers beside the machine: all that is known, and neither time nor WAL that goes on."""

from dataclasses import replace

import pytest

from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.agent.machine.news import NEVER_S
from leeward.core import keys
from leeward.core.values import Disk, Heartbeat, InstanceReport, Region, Role
from leeward.ports.gateway import Address
from leeward.ports.quorum import Outcome
from tests.agent.machine.test_machine import FLEET, Driven, heartbeats, settings
from tests.core.views import AP, APP, DOWN, EU, LEASE_S, REGIONS, UP, US, electing, report, sender, status, topology

LEADS = report(Role.PRIMARY, writable=True, lsn=100, senders=(sender(EU), sender(AP)))


def beat(driven: Driven, region: Region, own: InstanceReport, number: int, **more: object) -> None:
    heartbeat = Heartbeat(region, "a", number, 7, {other: UP for other in REGIONS if other != region}, {APP: own})
    driven.store(keys.heartbeat(FLEET, region), replace(heartbeat, **more))  # type: ignore[arg-type]


@pytest.fixture
def driven() -> Driven:
    """The agent of a standby's region, at rest."""
    built = Driven(EU)
    built.load(topology(), eu=7)
    for asked in heartbeats(built.post(on.Woke())):
        built.commit(asked)
    for number in (1, 2):
        beat(built, US, LEADS, number)
        beat(built, AP, report(), number)
        for region in (US, AP):
            built.post(on.Probed(region, UP))
    built.post(on.PodsChanged(APP, (Address("10.0.0.1", 8000),)))
    return built


def test_at_rest_nothing_is_news_however_much_wal_goes_by(driven: Driven) -> None:
    known = driven.machine.news
    for number in range(3, 40):
        driven.now_s += 0.25
        wal = replace(LEADS, wal=replace(LEADS.wal, lsn=100 * number), senders=(sender(EU), sender(AP)))  # type: ignore[type-var]
        beat(driven, US, wal, number)
        beat(driven, AP, report(lsn=100 * number), number)
        driven.post(on.InstanceReported(APP, status(lsn=100 * number, clock_s=driven.now_s)))
        for asked in heartbeats(driven.post(on.Woke())):
            driven.commit(asked)
        for region in (US, AP):
            driven.post(on.Probed(region, UP))
        driven.post(on.LeaderSeen(US))
        driven.post(on.GatewayTried(None))
    assert driven.machine.news == known


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(replace(LEADS, writable=False), id="it accepts no writes"),
        pytest.param(replace(LEADS, problem="the volume is full"), id="a problem"),
        pytest.param(replace(LEADS, disk=Disk(100, 1)), id="its disk"),
        pytest.param(replace(LEADS, weakened=("synchronous_commit",)), id="commits wait for less"),
        pytest.param(replace(LEADS, broken_paths={EU: "no answer"}), id="a path"),
        pytest.param(replace(LEADS, senders=(sender(EU),)), id="a standby is gone"),
        pytest.param(replace(LEADS, pods_ready=0), id="no pods"),
    ],
)
def test_what_a_heartbeat_reports_is_news_once(driven: Driven, changed: InstanceReport) -> None:
    known = driven.machine.news
    beat(driven, US, changed, 3)
    assert driven.machine.news > known
    known = driven.machine.news
    beat(driven, US, changed, 4)
    assert driven.machine.news == known


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(on.PodsChanged(APP, ()), id="our pods"),
        pytest.param(on.GatewayTried("refused"), id="our gateway"),
        pytest.param(on.Probed(US, DOWN), id="how a region looks"),
    ],
)
def test_what_is_seen_here_is_news(driven: Driven, event: on.Event) -> None:
    known = driven.machine.news
    for _ in range(2):  # one failure is a hiccup
        driven.post(event)
    assert driven.machine.news > known


def test_a_new_topology_and_a_lease_that_is_back_are_news(driven: Driven) -> None:
    known = driven.machine.news
    driven.store(keys.topology(FLEET, APP), electing())
    assert driven.machine.news > known
    driven.now_s += 10 * LEASE_S
    (asked, *_) = heartbeats(driven.post(on.Woke()))
    known = driven.machine.news
    driven.post(on.TransactionEnded(asked.transaction, Outcome(True, driven.revision)))
    assert driven.machine.view(driven.machine.apps[APP], driven.now_s).leased
    assert driven.machine.news > known


def test_the_next_silence_is_the_earliest_of_what_is_known(driven: Driven) -> None:
    machine, heard_at_s = driven.machine, driven.now_s
    assert machine.silence_at_s(heard_at_s) == heard_at_s + LEASE_S
    driven.now_s += 0.5
    machine.lease_until_s = driven.now_s + 0.25
    assert machine.silence_at_s(driven.now_s) == driven.now_s + 0.25
    assert machine.silence_at_s(driven.now_s + 0.25) == heard_at_s + LEASE_S, "the lease is over"
    assert machine.silence_at_s(driven.now_s + 1e6) == NEVER_S
    assert Machine(settings(EU), "a").silence_at_s(1e6) == NEVER_S


def test_a_step_that_takes_too_long_is_a_silence(driven: Driven) -> None:
    begun_at_s = driven.now_s
    driven.store(keys.topology(FLEET, APP), electing())
    late_at_s = begun_at_s + driven.machine.apps[APP].settings.rto_s
    assert driven.machine.silence_at_s(late_at_s - 0.1) == late_at_s
