"""A TLS context that follows its files: each handshake uses them as they are then.

Always true: files that do not fit one another, as in the midst of an exchange, change nothing; the certificates before
them stay in use, and the files are read again when they have changed, or when they could not be read. Connections that
are open go on.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leeward.core.identities import CERTIFICATE, KEY

AGAIN_S = 1.0
Stamp = tuple[tuple[int, int, int], ...]


class TlsFiles:
    """A TLS context that follows its files. Call it for the one to use now: it looks whether a file has changed."""

    def __init__(self, make: Callable[[], ssl.SSLContext], directory: Path, names: Sequence[str]) -> None:
        """``make`` reads the files ``names`` of a directory. Raises OSError (ssl.SSLError is one)."""
        self._make = make
        self._paths = [directory / name for name in names]
        self._read_at = self._stamp()
        self._not_before_s = 0.0
        self._context = make()

    def __call__(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        try:
            found = self._stamp()
        except OSError:
            return self._context
        if found != self._read_at and time.monotonic() >= self._not_before_s:
            # Before the files are read: what is written meanwhile is another change.
            self._read_at = found
            try:
                self._context = self._make()
            except OSError as error:
                if not isinstance(error, ssl.SSLError):
                    # It may pass, as too many open files do.
                    self._read_at, self._not_before_s = (), time.monotonic() + AGAIN_S
                # Imported here: it takes longer to import than commands run, and they see no renewal.
                import structlog

                structlog.get_logger().warning(
                    "failed to load renewed certificates",
                    files=str(self._paths[0].parent),
                    because=str(error),
                )
        return self._context

    def for_each_handshake(self) -> ssl.SSLContext:
        """Return a context for a server that takes one for good; it presents the current certificate.

        The authorities that the server trusts stay as they are.
        """
        context = self._make()

        def use_now(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self()

        context.sni_callback = use_now
        return context

    def _stamp(self) -> Stamp:
        found = [path.stat() for path in self._paths]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def open_server(directory: Path) -> TlsFiles:
    """Return the TLS context of a server for clients that need no certificate, and need not be ours. Raises OSError."""

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
        return context

    return TlsFiles(make, directory, (CERTIFICATE, KEY))
