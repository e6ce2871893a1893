"""Stands in for a region's program: servers where a region listens, and children to freeze and kill.

Usage: fake_region.py INDEX DIRECTORY [fail|silent|pry:WORLD:FILE]. On the agent's port it echoes, and after the end
of what it reads it says ``bye``; ``received`` counts what came. On the gateway's port it connects anybody to anywhere.
With ``pry`` it tries what code in a pod should not be able to do; ``pried`` says what came of it.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

TICK_S = 0.02
PATIENCE_S = 60.0


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


def another_region() -> Path:
    """Return a process of another region in /proc, once there is one."""
    mine = sys.argv[1]
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words[1:2] == sys.argv[:1] and words[2] != mine and words[4:5] == sys.argv[3:4]:
                return process
        time.sleep(TICK_S)
    raise LookupError("there is no other region")


def pry(world: str, file: str, directory: Path) -> dict[str, str]:
    """Return what became of each try: ``done``, or the name of the error."""
    region, neighbour = directory.parent, another_region()
    tries = {
        "read a file of root": lambda: Path(file).read_bytes(),
        "read passwords": lambda: Path("/etc/shadow").read_bytes(),
        "read the operator's key": lambda: Path(world, "operator/tls.key").read_bytes(),
        "read another region's key": lambda: Path(world, "regions/eu/identity/tls.key").read_bytes(),
        "list another region": lambda: os.listdir(Path(world, "regions/eu")),
        "enter another region": lambda: os.listdir(neighbour / "cwd/volumes"),
        "read another region's key by its processes": lambda: (neighbour / "cwd/identity/tls.key").read_bytes(),
        "see the environment of another region": lambda: (neighbour / "environ").read_bytes(),
        "list the home of root": lambda: os.stat("/root/.bashrc"),
        "ask the supervisor": lambda: socket.socket(socket.AF_UNIX).connect(f"{world}/control.sock"),
        "read its own key": lambda: (region / "identity/tls.key").read_bytes(),
        "change its own key": lambda: (region / "identity/tls.key").write_bytes(b""),
        "plant a link for root": lambda: (region / "region.log.new").symlink_to(file),
        "exchange its log": lambda: (region / "region.log").rename(region / "old.log"),
        "exchange its identity": lambda: (region / "identity").rename(region / "old"),
        "become root": lambda: os.setuid(0),
        "join another group": lambda: os.setgroups([0]),
        "see the environment of root": lambda: Path("/proc/1/environ").read_bytes(),
        "write to its volumes": lambda: (directory / "written").write_bytes(b"x"),
    }
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError as error:
            found[name] = type(error).__name__
        else:
            found[name] = "done"
    return found


def prepare(directory: Path, mood: str) -> None:
    directory.mkdir(exist_ok=True)
    if mood.startswith("pry:"):
        _pry, world, file = mood.split(":")
        (directory / "pried").write_text(json.dumps(pry(world, file, directory)))


async def main(index: str, directory: str, mood: str = "well") -> None:
    prepare(Path(directory), mood)
    if mood == "fail":
        sys.exit("the dog ate the disk")
    if mood == "silent":
        await asyncio.sleep(1000)
    await Region(int(index), Path(directory)).serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
