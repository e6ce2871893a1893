"""The server in a thread of its own: a flood of queries must not delay the agent's heartbeats.

Nor must importing its modules, which takes long: the thread does that, unless ``load`` did before.

``ask`` decides the answers. That thread calls it, so it may only read values that never change.
"""

import asyncio
import importlib
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Self

import uvloop

if TYPE_CHECKING:
    from leeward.adapters.dns.server import DnsServer
    from leeward.adapters.dns.wire import Ask


class ThreadedDnsServer:
    """A ``DnsServer`` in a thread of its own; used as a context manager, like ``DnsServer``."""

    def __init__(self, host: str, port: int, ask: "Ask") -> None:
        self._host = host
        self._port = port
        self._ask = ask
        # A daemon: whatever happens to it, the agent can end.
        self._thread = threading.Thread(target=self._run, name="dns", daemon=True)
        self._started: Future[DnsServer] = Future()
        self._ended: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._server: DnsServer

    @staticmethod
    def load() -> None:
        """Import the server's modules, which the thread does otherwise: a quarter of an agent's startup time."""
        importlib.import_module("leeward.adapters.dns.server")

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        self._thread.start()
        try:
            self._server = await asyncio.wrap_future(self._started)
        except asyncio.CancelledError:
            self._started.add_done_callback(self._end)
            raise
        return self

    def _end(self, started: "Future[DnsServer]") -> None:
        """Stop what has started after its caller was cancelled."""
        if not started.cancelled() and started.exception() is None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and close every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.wrap_future(self._ended)

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.port

    def clear_cache(self) -> None:
        """Drop all cached answers: something has changed."""
        self._loop.call_soon_threadsafe(self._server.clear_cache)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        finally:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        from leeward.adapters.dns.server import DnsServer

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if not self._started.set_running_or_notify_cancel():
            return  # its caller was cancelled before
        try:
            async with DnsServer(self._host, self._port, self._ask) as server:
                self._started.set_result(server)
                await self._stop.wait()
        except OSError as error:
            self._started.set_exception(error)
