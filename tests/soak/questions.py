"""Nonsense for the DNS servers of a world while it soaks: almost-questions over TCP, and honest ones in the end."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import dns.asyncquery
import dns.exception
import dns.message

from leeward.world.model import RegionInfo, WorldInfo

EVERY_S = 0.25
TOGETHER = 10
"""Messages of one connection."""
QUIET_S = 0.2
TIMEOUT_S = 60.0
LENGTH_BYTES = 2


class Questions:
    """Asks every region's server without end, and counts what came back."""

    def __init__(self, info: WorldInfo, host: str, seed: int) -> None:
        self._info = info
        self._host = host
        self._random = random.Random(seed)
        self.count: Counter[str] = Counter()

    async def run(self) -> None:
        """Ask until cancelled. Raises what an answer that is none raises."""
        async with asyncio.TaskGroup() as group:
            for region in self._info.regions:
                group.create_task(self._ask(region))

    async def answered(self) -> list[str]:
        """Return the regions whose server answers an honest question."""
        found = []
        for region in self._info.regions:
            query = dns.message.make_query(self._host, "A")
            with suppress(OSError, EOFError, dns.exception.DNSException):
                response = await dns.asyncquery.tcp(query, region.dns_host, timeout=TIMEOUT_S, port=region.dns_port)
                if response.answer:
                    found.append(region.name)
        return found

    async def _ask(self, region: RegionInfo) -> None:
        while True:
            with suppress(ConnectionError):  # nonsense is hung up on
                await self._connection(region)
            await asyncio.sleep(EVERY_S)

    async def _connection(self, region: RegionInfo) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(region.dns_host, region.dns_port)
            try:
                for _ in range(TOGETHER):
                    wire = self._almost_a_question()
                    length = len(wire) if self._random.random() < 0.9 else self._random.randrange(65536)
                    writer.write(length.to_bytes(LENGTH_BYTES, "big") + wire)
                    self.count["asked"] += 1
                await writer.drain()
                with suppress(TimeoutError, asyncio.IncompleteReadError):
                    while True:
                        async with asyncio.timeout(QUIET_S):
                            size = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                            answer = await reader.readexactly(size)
                        dns.message.from_wire(answer)
                        self.count["answered"] += 1
            finally:
                writer.close()

    def _almost_a_question(self) -> bytes:
        chance = self._random
        host = chance.choice([self._host, "example.com", "x" * 63 + ".example.com", "."])
        query = dns.message.make_query(host, chance.choice(["A", "AAAA", "ANY", "NS", "SOA", "TXT"]))
        if chance.random() < 0.5:
            query.use_edns(chance.randrange(3), payload=chance.randrange(65536))
        wire = bytearray(query.to_wire())
        for _ in range(chance.randrange(5)):
            at = chance.randrange(len(wire) + 1)
            match chance.randrange(3):
                case 0:
                    wire[at : at + 1] = chance.randbytes(1)
                case 1:
                    wire[at:at] = chance.randbytes(chance.randrange(40))
                case _:
                    del wire[at : at + chance.randrange(8)]
        return bytes(wire)
