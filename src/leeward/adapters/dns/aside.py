"""The server in a thread of its own: a flood of questions must not keep the agent from its heartbeats.

Nor must its modules, which take long to import: the thread does that, unless ``load`` did before.

What it answers is decided by ``ask``, which that thread calls: it may only read values that nobody changes.
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


class DnsServerAside:
    """A ``DnsServer`` beside the caller's event loop, with the same context."""

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
        """Load the server's modules, which otherwise its thread does: they are a quarter of an agent's start."""
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
        """Stop listening, and hang up on whoever is connected."""
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.wrap_future(self._ended)

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.port

    def forget(self) -> None:
        """Answer everything anew: something has changed."""
        self._loop.call_soon_threadsafe(self._server.forget)

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
