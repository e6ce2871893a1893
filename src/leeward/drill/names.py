"""Query DNS, as resolvers of a lost region's users would, until no surviving region answers with the lost one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from leeward.adapters.dns.client import NoAnswerError, ask
from leeward.core.values import Region
from leeward.drill.measure import Moment
from leeward.ports.clock import Clock

POLL_S = 0.1
ANSWER_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Names:
    """Where to resolve an application's name, and what the answers mean."""

    host: str
    servers: Mapping[Region, tuple[str, int]]
    """Each region's DNS server."""
    networks: Mapping[Region, str]
    """The client prefix of users near each region."""
    gateways: Mapping[str, Region]
    """By address."""


class NameWatch:
    """Records when each surviving region removed the lost ones from DNS."""

    def __init__(self, names: Names | None, clock: Clock, progress: Callable[[str], None]) -> None:
        self.removed_s: dict[Region, float | None] = {}
        """Seconds from the fault; None: not yet. Empty while no region is lost. Omits regions
        that had not added the lost one back since an earlier loss."""
        self._names = names
        self._clock = clock
        self._progress = progress
        self._watches: list[asyncio.Task[None]] = []

    def fault_injected(self, fault: Moment, lost: frozenset[Region]) -> None:
        """Start querying, if any region is lost."""
        if self._names is None or not lost:
            return
        for region in self._names.servers:
            if region not in lost:
                self.removed_s[region] = None
                work = self._watch(self._names, region, fault, lost)
                self._watches.append(asyncio.create_task(work, name=f"watch names in {region}"))

    async def end(self) -> None:
        """Stop querying."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _watch(self, names: Names, region: Region, fault: Moment, lost: frozenset[Region]) -> None:
        host, port = names.servers[region]
        users_of = min(lost)
        was_named = False
        while True:
            with suppress(NoAnswerError):
                near = names.networks[users_of]
                reply = await ask(host, port, names.host, near=near, timeout_s=ANSWER_TIMEOUT_S)
                leads_to = {names.gateways[each] for each in reply.addresses if each in names.gateways}
                if leads_to and lost.isdisjoint(leads_to):
                    break
                was_named |= not lost.isdisjoint(leads_to)
            await asyncio.sleep(POLL_S)
        if not was_named:
            # The lost region had not been added back since an earlier loss.
            del self.removed_s[region]
            self._progress(f"dns: {region} does not answer clients near {users_of} with their own region again yet")
            return
        after_s = self._clock.now_s() - fault.at_boot_s
        self.removed_s[region] = after_s
        who = ", ".join(sorted(leads_to))
        self._progress(f"+{after_s:.2f} s dns: {region} now answers clients near {users_of} with {who}")


@asynccontextmanager
async def watching(names: Names | None, clock: Clock, progress: Callable[[str], None]) -> AsyncIterator[NameWatch]:
    """Yield a watch that ends with the context."""
    watch = NameWatch(names, clock, progress)
    try:
        yield watch
    finally:
        await watch.end()
