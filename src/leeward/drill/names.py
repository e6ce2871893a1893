"""Watch, as resolvers of a lost region's users would, until no surviving region's DNS leads there any more."""

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
    """Where to ask for an application's name, and what the answers mean."""

    host: str
    servers: Mapping[Region, tuple[str, int]]
    """Each region's DNS server."""
    networks: Mapping[Region, str]
    """Where users near each region are, as prefixes."""
    gateways: Mapping[str, Region]
    """By address."""


class NameWatch:
    """Notes when each surviving region's DNS stopped to name the lost ones."""

    def __init__(self, names: Names | None, clock: Clock, say: Callable[[str], None]) -> None:
        self.left_out_s: dict[Region, float | None] = {}
        """Seconds from the fault; None: not yet. Empty while nothing is lost, and without
        who had not named it again since an earlier loss."""
        self._names = names
        self._clock = clock
        self._say = say
        self._watches: list[asyncio.Task[None]] = []

    def struck(self, fault: Moment, lost: frozenset[Region]) -> None:
        """Begin to ask, if any region is lost."""
        if self._names is None or not lost:
            return
        for region in self._names.servers:
            if region not in lost:
                self.left_out_s[region] = None
                work = self._watch(self._names, region, fault, lost)
                self._watches.append(asyncio.create_task(work, name=f"watch names in {region}"))

    async def end(self) -> None:
        """Stop to ask."""
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
            # Back from an earlier loss, it was still held down.
            del self.left_out_s[region]
            self._say(f"dns: {region} does not answer clients near {users_of} with their own region again yet")
            return
        after_s = self._clock.now_s() - fault.at_boot_s
        self.left_out_s[region] = after_s
        who = ", ".join(sorted(leads_to))
        self._say(f"+{after_s:.2f} s dns: {region} now answers clients near {users_of} with {who}")


@asynccontextmanager
async def watching(names: Names | None, clock: Clock, say: Callable[[str], None]) -> AsyncIterator[NameWatch]:
    """Yield a watch that ends with the context."""
    watch = NameWatch(names, clock, say)
    try:
        yield watch
    finally:
        await watch.end()
