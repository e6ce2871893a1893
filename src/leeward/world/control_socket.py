"""The control socket between the two who share a world: each end talks to its own user only.

The socket is below directories that other users cannot write to. Should that fail, each end asks the kernel for the
other one's user, and exchanges neither a request nor an answer with another user.
"""

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from leeward.world.ownership import ForeignError, peer_uid, user_name

if TYPE_CHECKING:  # commands need the client only
    from aiohttp import web


class ControlConnector(aiohttp.UnixConnector):
    """Connects to a supervisor of our own user. For another user's it raises ForeignError before anything is sent."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        handle = socket.socket(socket.AF_UNIX)
        handle.setblocking(False)
        try:
            async with asyncio.timeout(timeout.sock_connect):
                await loop.sock_connect(handle, self.path)
            listener = peer_uid(handle.fileno())
            if listener != os.geteuid():
                raise ForeignError(self.path, f"its listener is {user_name(listener)}")
            _transport, protocol = await loop.create_unix_connection(self._factory, sock=handle)
        except BaseException:
            handle.close()
            raise
        return protocol


def asked_by_us(request: "web.Request") -> bool:
    """Return whether our own user is at the other end of a request's connection."""
    handle = None if request.transport is None else request.transport.get_extra_info("socket")
    return handle is not None and peer_uid(handle.fileno()) == os.geteuid()
