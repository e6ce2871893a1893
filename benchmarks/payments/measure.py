"""What one pod of examples/payments does against a PostgreSQL beside it, and what a peak therefore needs.

    .venv/bin/python -m benchmarks.payments.measure --seconds 20 --peak 2000

Payments and reads are measured one after the other, over several connections at once: requests a second, how long
they take, and processor time for each. Processor time is what counts: client, pod and database share this machine
here, and not where it matters. From it follow the pods a peak takes in the primary's region, and from the length of a
commit the database connections; both are held against ``application.yaml`` and the pool.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from itertools import count
from math import ceil

import psutil
from tests.examples.conftest import EXAMPLE, PostgreSQL, Service

from leeward.spec import load

CLIENTS = 16
POOL_SIZE = 5
"""The service's own, unless application.yaml says otherwise."""
WARM_UP_REQUESTS = 50

Call = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of request."""

    requests: int
    failed: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    pod_cpu_ms: float
    """Processor time of the pod for each request, user and system."""
    postgres_cpu_ms: float
    """The same of all of PostgreSQL's processes."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the files provide for in the primary's region, where all payments are made."""

    pods_max: int
    cpus_of_pod: float
    """The limit of one pod."""
    busy_at_most: float
    """The share of it that is meant to be used."""
    connections_of_pod: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a peak of payments takes, beside what there is."""

    pods: int
    connections: int
    pods_max: int
    connections_max: int

    @property
    def met(self) -> bool:
        """Whether there is enough of both."""
        return self.pods <= self.pods_max and self.connections <= self.connections_max


def need(peak_per_s: float, pod_cpu_ms: float, commit_ms: float, capacity: Capacity) -> Need:
    """Return what a peak takes: pods by processor time, connections by how long a payment holds one."""
    per_pod_per_s = capacity.cpus_of_pod * capacity.busy_at_most * 1000 / pod_cpu_ms
    return Need(
        pods=ceil(peak_per_s / per_pod_per_s),
        connections=ceil(peak_per_s * commit_ms / 1000),
        pods_max=capacity.pods_max,
        connections_max=capacity.pods_max * capacity.connections_of_pod,
    )


def capacity_of_files() -> Capacity:
    """Return what application.yaml and the service's pool provide for."""
    service = load(EXAMPLE).applications[0].spec.service
    assert service.autoscaling is not None
    assert service.resources.limits.cpu is not None
    return Capacity(
        pods_max=service.autoscaling.max,
        cpus_of_pod=float(service.resources.limits.cpu.amount),
        busy_at_most=service.autoscaling.cpu / 100,
        connections_of_pod=int(service.env.get("POOL_SIZE", POOL_SIZE)),
    )


async def measure(call: Call, seconds: float, pod: int, postgres: int) -> Measured:
    """Return what CLIENTS clients get done at once."""
    for _ in range(WARM_UP_REQUESTS):
        await call()
    took_s, failed = list[float](), 0
    pod_s, postgres_s, began_s = _cpu_s(pod), _cpu_s(postgres), time.monotonic()

    async def client() -> None:
        nonlocal failed
        while (sent_s := time.monotonic()) < began_s + seconds:
            failed += await call() >= 300
            took_s.append(time.monotonic() - sent_s)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    lasted_s, requests = time.monotonic() - began_s, len(took_s)
    took_s.sort()
    return Measured(
        requests=requests,
        failed=failed,
        requests_per_s=round(requests / lasted_s, 1),
        p50_ms=round(took_s[requests // 2] * 1000, 2),
        p99_ms=round(took_s[requests * 99 // 100] * 1000, 2),
        pod_cpu_ms=round((_cpu_s(pod) - pod_s) * 1000 / requests, 3),
        postgres_cpu_ms=round((_cpu_s(postgres) - postgres_s) * 1000 / requests, 3),
    )


def _cpu_s(pid: int) -> float:
    """Return what a process and its children have used; the children's children as far as they have ended."""
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children()))


async def both(server: PostgreSQL, seconds: float) -> tuple[Measured, Measured]:
    """Return how payments and reads go."""
    assert server.process is not None
    pod = Service(server.port, server.port)
    try:
        await pod.started()
        payment = await pod.paid("first")
        numbers = count()

        async def pay() -> int:
            return (await pod.pay(f"key-{next(numbers)}"))[0]

        async def read() -> int:
            return (await pod.get(f"/api/payments/{payment['id']}"))[0]

        processes = (pod.process.pid, server.process.pid)
        return await measure(pay, seconds, *processes), await measure(read, seconds, *processes)
    finally:
        await pod.close()


def main() -> int:
    """Measure, print, and return 1 when the files do not provide for the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of payments, and then of reads")
    parser.add_argument("--peak", type=float, default=2000.0, help="payments a second, all of them in one region")
    parser.add_argument(
        "--rtt", type=float, default=80.0, help="ms to the standby that acknowledges, in sync and quorum"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    server = PostgreSQL()
    try:
        server.start()
        payments, reads = asyncio.run(both(server, asked.seconds))
    finally:
        server.remove()
    capacity = capacity_of_files()
    # With more clients than connections most of a request is waiting; the pool is never idle.
    held_ms = POOL_SIZE * 1000 / payments.requests_per_s
    needs = {
        "async": need(asked.peak, payments.pod_cpu_ms, held_ms, capacity),
        "sync": need(asked.peak, payments.pod_cpu_ms, held_ms + asked.rtt, capacity),
    }
    if asked.json:
        found = {"payments": asdict(payments), "reads": asdict(reads), "capacity": asdict(capacity)}
        print(json.dumps({**found, "needs": {mode: asdict(each) for mode, each in needs.items()}}))
    else:
        _show(payments, reads, asked.peak, needs)
    return 0 if all(each.met for each in needs.values()) else 1


def _show(payments: Measured, reads: Measured, peak_per_s: float, needs: dict[str, Need]) -> None:
    print(
        f"{'':10}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'pod CPU ms':>12}{'PostgreSQL CPU ms':>19}{'failed':>8}"
    )
    for name, each in (("payments", payments), ("reads", reads)):
        print(
            f"{name:10}{each.requests_per_s:>12.0f}{each.p50_ms:>9.1f}{each.p99_ms:>9.1f}"
            f"{each.pod_cpu_ms:>12.2f}{each.postgres_cpu_ms:>19.2f}{each.failed:>8}"
        )
    for mode, wanted in needs.items():
        print(
            f"{peak_per_s:.0f} payments/s, {mode}: {wanted.pods} pods of at most {wanted.pods_max}, "
            f"{wanted.connections} connections of at most {wanted.connections_max}: "
            + ("enough" if wanted.met else "NOT ENOUGH")
        )


if __name__ == "__main__":
    sys.exit(main())
