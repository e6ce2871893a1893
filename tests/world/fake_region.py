"""Stands in for a region's program: servers where a region listens, and children to freeze and kill.

Usage: fake_region.py INDEX DIRECTORY [fail|silent]. On the agent's port it echoes, and after the end of what
it reads it says ``bye``; ``received`` counts what came. On the gateway's port it connects anybody to anywhere.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

TICK_S = 0.02


class Region:
    def __init__(self, index: int, directory: Path) -> None:
        self.index = index
        self.directory = directory
        self.received = 0

    async def serve(self) -> None:
        await asyncio.start_server(self.connect, f"127.10.{self.index}.2", 8080)
        await asyncio.start_server(self.echo, f"127.10.{self.index}.4", 7443)
        start_children()
        with (self.directory / "started").open("a") as file:
            file.write(f"{os.getpid()} {os.getuid()}\n")
        print("ready", flush=True)
        ticks = 0
        while True:
            ticks += 1
            (self.directory / "ticks").write_text(str(ticks))
            await asyncio.sleep(TICK_S)

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.received += len(data)
                (self.directory / "received").write_text(str(self.received))
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
        except ConnectionError:
            pass
        writer.close()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """First line: ``HOST PORT``; then everything goes there and back, unchanged."""
        host, port = (await reader.readline()).split()
        there = await asyncio.open_connection(host.decode(), int(port))
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))


def start_children() -> None:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    told, says = os.pipe()
    # It is there with its child, or the tree of processes would still grow when the region says that it is ready.
    subprocess.Popen(["sh", "-c", "sleep 1001 & echo; exec sleep 1002"], stdout=says)
    os.read(told, 1)
    subprocess.Popen(["etcd", "1003"], executable="/bin/sleep")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def main(index: str, directory: str, mood: str = "well") -> None:
    if mood == "fail":
        sys.exit("the dog ate the disk")
    if mood == "silent":
        await asyncio.sleep(1000)
    await Region(int(index), Path(directory)).serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
