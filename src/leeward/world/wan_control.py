"""The supervisor's end of the WAN: start it, command it, detect its exit."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from leeward.core.codec import from_plain
from leeward.kit import kernel, logs
from leeward.world import spawn
from leeward.world.model import Applied, LinkInfo, WorldConfig

ANSWER_TIMEOUT_S = 5.0

log = structlog.get_logger()


def fork_wan(config: WorldConfig, networks: Mapping[str, int], close: Sequence[int]) -> tuple[int, socket.socket]:
    """Fork the WAN; return its pid and our end of its socket. Call it before there is a thread or a loop.

    ``close`` are the descriptors that must not outlive this process in the WAN.
    """
    ours, its = socket.socketpair()
    parent = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        its.close()
        os.close(parent)
        return pid, ours
    try:
        kernel.die_with_parent()
        spawn.end_if_orphaned(parent)
        ours.close()
        for descriptor in (*close, parent):
            os.close(descriptor)
        from leeward.world import wan  # its libraries stay out of the supervisor until they are needed

        logs.configure("wan", logs.Form.TEXT)
        wan.run(config, networks, its)
        os._exit(0)
    finally:
        log.exception("the WAN process exited")
        os._exit(1)


class WanControl:
    """Commands to the WAN, one at a time."""

    def __init__(self, pid: int, handle: socket.socket) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self._handle = handle
        self._turn = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Take the socket into the loop, and watch the process."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._handle)
        pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(pidfd, self._reap, pidfd)

    async def change(self, regions: Sequence[tuple[str, str]], changes: Mapping[str, Any]) -> Applied:
        """Change these directions at the same moment. ``changes``: cut, delay_ms, rate_kib_s."""
        return from_plain(Applied, await self._ask({"regions": regions, **changes}))

    async def links(self) -> tuple[LinkInfo, ...]:
        """Return every direction as it is."""
        answer = await self._ask({})
        return tuple(from_plain(LinkInfo, link) for link in answer["links"])

    async def end(self) -> None:
        """End the process."""
        if not self.ended.is_set():
            os.kill(self.pid, signal.SIGKILL)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self.ended.wait()
        if self._writer is not None:
            self._writer.close()

    async def _ask(self, command: Mapping[str, Any]) -> Any:
        assert self._reader is not None, "open() comes first"
        assert self._writer is not None
        async with self._turn, asyncio.timeout(ANSWER_TIMEOUT_S):
            self._writer.write(json.dumps(command).encode() + b"\n")
            await self._writer.drain()
            return json.loads(await self._reader.readline())

    def _reap(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        log.info("WAN process exited with status %d", status)
        self.ended.set()
