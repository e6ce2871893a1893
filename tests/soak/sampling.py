"""Read every gauge of a running world: processes, Envoys as Prometheus does, disks, and how quick a request is.

A process is known by what it is, where it runs and its number, so that only one that lives all the time is judged by
itself. How many there are of each kind is a gauge of its own: sessions and helpers that come and go must not pile up.
"""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from leeward.adapters.envoy.admin import METRICS_PATH
from leeward.adapters.envoy.settings import METRICS_PORT
from leeward.world.model import RegionInfo, WorldInfo, address
from tests.soak.slopes import Sample

TIMEOUT_S = 60.0
ASK_AGAIN_S = 0.05
BLOCK_BYTES = 512
STORE_DATABASE = "/member/snap/db"
WANTED = ("_active", "_pending", "connections", "memory_allocated", "memory_heap_size")
"""Envoy's gauges are judged whose names end so. Others are times, versions and settings."""


class Sampler:
    """Takes samples of one world."""

    def __init__(self, info: WorldInfo, host: str, *, sums: bool = False) -> None:
        """``host``: the application's name, which gateways tell applications apart by.

        ``sums``: of each kind of process together, for worlds whose processes die and come back.
        """
        self._info = info
        self._host = host
        self._sums = sums

    async def sample(self) -> Sample:
        """Return what every gauge shows now."""
        loop = asyncio.get_running_loop()
        at_s = loop.time()
        gauges = _processes(self._info, sums=self._sums)
        running = [region for region in self._info.regions if region.pid is not None]
        for region in running:
            gauges |= _disk(region)
            gauges |= await self._latency(region)
        for found in await asyncio.gather(*(_envoy(region) for region in running)):
            gauges |= found
        return Sample(at_s, gauges)

    async def _latency(self, region: RegionInfo) -> dict[str, float]:
        """Return how long a user waits for an answer, connecting again where none comes; nothing for an error."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(TIMEOUT_S), aiohttp.ClientSession(headers={"Host": self._host}) as session:
                while True:
                    good = await _answers(session, f"{region.gateway_url}/healthz")
                    if good is not None:
                        return {f"{region.name} latency_ms": (loop.time() - began_s) * 1000} if good else {}
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError:
            return {}


async def _answers(session: aiohttp.ClientSession, url: str) -> bool | None:
    """Return whether the answer was good; None without one."""
    try:
        async with session.get(url) as response:
            await response.read()
            return response.ok
    except (aiohttp.ClientError, OSError):
        return None


def _disk(region: RegionInfo) -> dict[str, float]:
    """Return what a region's files take, and the store's database of them."""
    disk = store = 0
    for folder, _, names in os.walk(region.directory):
        for name in names:
            path = os.path.join(folder, name)
            try:
                taken = os.lstat(path).st_blocks * BLOCK_BYTES
            except FileNotFoundError:
                continue
            disk += taken
            store += taken if path.endswith(STORE_DATABASE) else 0
    return {f"{region.name} disk_bytes": float(disk), f"{region.name} store_bytes": float(store)}


def _processes(info: WorldInfo, *, sums: bool) -> dict[str, float]:
    """Return the gauges of all processes of the world, the janitor and the supervisor too."""
    gauges: dict[str, float] = {}
    kinds: Counter[str] = Counter()
    places = {region.pid: region.name for region in info.regions if region.pid is not None}
    pending = [(psutil.Process(info.janitor_pid), "world")]
    while pending:
        process, place = pending.pop()
        place = places.get(process.pid, place)
        try:
            kind = f"{place} {_kind(process)}"
            pending += [(child, place) for child in process.children()]
            proc = Path(f"/proc/{process.pid}")
            status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
            one = f"{kind} {process.pid}"
            kinds[kind] += 1
            found = {
                "anonymous_bytes": float(status["RssAnon"].split()[0]) * 1024,
                "threads": float(status["Threads"]),
                "descriptors": float(len(os.listdir(proc / "fd"))),
            }
            gauges |= {f"{one} {name}": value for name, value in found.items()}
            for name, value in found.items() if sums else ():
                total = f"{kind} all {name}"
                gauges[total] = gauges.get(total, 0.0) + value
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError, KeyError):
            continue  # it ended, or is a zombie, which has no memory
    return gauges | {f"{kind} processes": float(count) for kind, count in kinds.items()}


def _kind(process: psutil.Process) -> str:
    """Return what a process is: its program, and of Python the module that runs; of PostgreSQL which process."""
    line = process.cmdline()
    if not line:
        return process.name()
    if line[0].startswith("postgres:"):
        return " ".join(line[0].split()[:3])
    name = os.path.basename(line[0].split()[0])
    module = line[line.index("-m") + 1] if "-m" in line else next((each for each in line[1:] if each[:1] != "-"), "")
    return f"{name} {os.path.basename(module)}" if name.startswith("python") else name


async def _envoy(region: RegionInfo) -> dict[str, float]:
    """Return the gauges of a region's Envoy, asked from inside the region's network."""
    assert region.pid is not None
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.soak.inside",
        str(region.pid),
        f"http://{address(region.index, 2)}:{METRICS_PORT}{METRICS_PATH}",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return {f"{region.name} envoy {name}": value for name, value in envoy_gauges(output.decode()).items()}


def envoy_gauges(exposition: str) -> dict[str, float]:
    """Return the gauges that are judged, by their name and labels."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition)
        if family.type == "gauge" and family.name.endswith(WANTED)
        for sample in family.samples
    }
