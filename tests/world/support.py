"""What the tests of the world share: configurations, callers inside regions, and conditions to wait for."""

import asyncio
import os
import time
from pathlib import Path

from leeward.world import places
from leeward.world.client import World
from leeward.world.model import LinkConfig, RegionConfig, WorldConfig

FAKE = str(Path(__file__).with_name("fake_region.py"))
REGIONS = ("us", "eu", "ap")
RTT_MS = {("us", "eu"): 80, ("us", "ap"): 150, ("eu", "ap"): 200}
PATIENCE_S = 60.0
SILENCE_S = 0.4


def config(name: str, mood: str = "well", ready_timeout_s: float = 90.0) -> WorldConfig:
    directory = places.directory(name)
    return WorldConfig(
        name=name,
        fleet="shop",
        directory=str(directory),
        regions=tuple(
            RegionConfig(name=region, index=index, manifests=str(directory / "regions" / region / "manifests"))
            for index, region in enumerate(REGIONS, 1)
        ),
        links=tuple(LinkConfig(regions=pair, rtt_ms=rtt_ms) for pair, rtt_ms in RTT_MS.items()),
        region_command=("{python}", FAKE, "{index}", "{directory}/volumes", mood),
        ready_timeout_s=ready_timeout_s,
    )


class Caller:
    """A connection made inside one region, to a region's agent or elsewhere."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def inside(cls, world: World, source: str, target: str, endpoint: tuple[int, int] = (4, 7443)) -> "Caller":
        info = await world.info()
        port = int(info.region(source).gateway_url.rpartition(":")[2])
        caller = cls(*await asyncio.open_connection("127.0.0.1", port))
        last, target_port = endpoint
        caller.send(f"127.10.{info.region(target).index}.{last} {target_port}\n".encode())
        return caller

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(count)

    async def ping_s(self) -> float:
        started_s = time.monotonic()
        self.send(b"x")
        assert await self.read(1) == b"x"
        return time.monotonic() - started_s

    async def is_silent(self) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(SILENCE_S):
                return await self.reader.read(1) == b"never"
        except TimeoutError:
            return True

    async def ends(self) -> bytes:
        """Return what is left to read until the connection ends, however it does."""
        data = bytearray()
        try:
            while True:
                async with asyncio.timeout(PATIENCE_S):
                    more = await self.reader.read(65536)
                if not more:
                    break
                data += more
        except ConnectionError:
            pass
        return bytes(data)


def number(path: Path) -> int:
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def mentioning(text: str) -> dict[int, str]:
    """Return the processes whose command line or working directory mentions it, but for our own."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = os.readlink(entry / "cwd")
            except OSError:
                continue
            if text in line or text in place:
                found[int(entry.name)] = line
    return found
