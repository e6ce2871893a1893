"""When a lost region was removed from DNS, queried over real sockets, and how it is counted."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from leeward.adapters.dns.server import DnsServer
from leeward.core.dns.zone import Answer, Code, Question, Record
from leeward.core.values import Region
from leeward.drill import names as watched
from leeward.drill.measure import Moment, measure
from leeward.drill.names import Names, NameWatch, watching
from leeward.ports.clock import SystemClock
from tests.kit.waiting import until

from .builders import EU, JP, US, facts

GATEWAYS = {US: "192.0.2.1", EU: "192.0.2.2", JP: "192.0.2.3"}
PATIENCE_S = 60


class Server:
    """Answers every question with these regions."""

    def __init__(self, *regions: Region) -> None:
        self.regions = regions
        self.asked: list[Question] = []

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        return Answer(Code.NOERROR, tuple(Record(question.name, "A", 1, GATEWAYS[each]) for each in self.regions))


class Fleet:
    def __init__(self) -> None:
        self.servers = {region: Server(US) for region in GATEWAYS}
        self.running: dict[Region, DnsServer] = {}
        self.lines: list[str] = []

    @property
    def names(self) -> Names:
        return Names(
            host="shop.example.com",
            servers={region: ("127.0.0.1", server.port) for region, server in self.running.items()},
            networks={US: "10.1.0.0/24", EU: "10.2.0.0/24", JP: "10.3.0.0/24"},
            gateways={address: region for region, address in GATEWAYS.items()},
        )

    def name(self, region: Region, *regions: Region) -> None:
        self.servers[region].regions = regions
        self.running[region].clear_cache()

    async def until_seen(self, *regions: Region) -> None:
        """Wait until each has been asked again, so that its first answer has been read."""

        def asked() -> list[int]:
            for region in regions:
                self.running[region].clear_cache()
            return [len(self.servers[region].asked) for region in regions]

        await until(asked, accept=lambda counts: min(counts) >= 2, within_s=PATIENCE_S, every_s=0.01)

    async def until_logged(self, count: int) -> None:
        await until(lambda: len(self.lines) >= count, within_s=PATIENCE_S, every_s=0.01)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was asked has answered: on a busy machine, late."""
    monkeypatch.setattr(watched, "ANSWER_TIMEOUT_S", float(PATIENCE_S))


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    built = Fleet()
    async with AsyncExitStack() as stack:
        for region, server in built.servers.items():
            built.running[region] = await stack.enter_async_context(DnsServer("127.0.0.1", 0, server.answer))
        yield built


def fault() -> Moment:
    clock = SystemClock()
    return Moment(clock.unix_s(), clock.now_s())


async def test_each_surviving_region_is_asked_until_it_leaves_the_lost_one_out(fleet: Fleet) -> None:
    async with watching(fleet.names, SystemClock(), fleet.lines.append) as watch:
        watch.fault_injected(fault(), frozenset({US}))
        assert watch.removed_s == {EU: None, JP: None}
        await fleet.until_seen(EU, JP)
        fleet.name(JP, JP)
        await fleet.until_logged(1)
        # A panic still leads some of its users to the lost region.
        fleet.name(EU, EU, US)
        assert watch.removed_s[EU] is None
        fleet.name(EU, EU)
        await fleet.until_logged(2)
    assert "dns: jp now answers clients near us with jp" in fleet.lines[0]
    assert "dns: eu now answers clients near us with eu" in fleet.lines[1]
    early_s, late_s = watch.removed_s[JP], watch.removed_s[EU]
    assert early_s is not None
    assert late_s is not None
    assert 0 < early_s < late_s
    assert fleet.servers[US].asked == []
    assert {str(question.client) for question in fleet.servers[EU].asked} == {"10.1.0.0/24"}


async def test_a_region_that_goes_on_naming_it_is_counted_as_never(fleet: Fleet) -> None:
    async with watching(fleet.names, SystemClock(), fleet.lines.append) as watch:
        watch.fault_injected(fault(), frozenset({US}))
        await fleet.until_seen(EU, JP)
        fleet.name(JP, JP)
        await fleet.until_logged(1)
    assert watch.removed_s[EU] is None
    timeline = measure(facts(dns_removed_s=watch.removed_s)).timeline
    assert (timeline.dns, timeline.dns_by_region) == (None, watch.removed_s)


async def test_a_region_that_was_not_added_back_yet_is_not_measured(fleet: Fleet) -> None:
    for region in (EU, JP):
        fleet.servers[region].regions = (region,)
    async with watching(fleet.names, SystemClock(), fleet.lines.append) as watch:
        watch.fault_injected(fault(), frozenset({US}))
        await fleet.until_logged(2)
    assert watch.removed_s == {}
    assert "dns: eu does not answer clients near us with their own region again yet" in fleet.lines


@pytest.mark.parametrize("lost", [frozenset[Region](), frozenset({US})])
async def test_there_is_nothing_to_ask(fleet: Fleet, lost: frozenset[Region]) -> None:
    watch = NameWatch(None if lost else fleet.names, SystemClock(), fleet.lines.append)
    watch.fault_injected(fault(), lost)
    await watch.end()
    assert watch.removed_s == {}
    assert measure(facts(dns_removed_s=watch.removed_s)).timeline.dns is None


def test_the_last_region_counts() -> None:
    assert measure(facts(dns_removed_s={EU: 1.5, JP: 1.2})).timeline.dns == 1.5
