"""Count clients that a port refused, and log them within bounds.

Always true: at most one line per client, reason and interval, and so many lines per interval in all that no flood fills
a log, whatever addresses it comes from. Everything is counted.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from leeward.core.connections import client_of
from leeward.kit.http.handshakes import Reason, Refused

log = structlog.get_logger()

REFUSED = "client refused"
"""How the line in the log begins."""
INTERVAL_S = 60.0
LINES_MAX = 32
"""Per interval; one more line says how many were not logged."""


@dataclass(slots=True)
class _Peer:
    logged_at_s: float
    unlogged: int = 0


class Refusals:
    """What one port refused."""

    def __init__(self, server: str) -> None:
        """``server``: whose port it is, such as ``agent`` or ``instance-payments``."""
        self.server = server
        self._counts: Counter[str] = Counter()
        self._peers: dict[tuple[str, str, str, str], _Peer] = {}
        self._others = 0
        self._others_since_s = 0.0

    @property
    def counts(self) -> Mapping[str, int]:
        """How many were refused since the start, by reason."""
        return self._counts

    def note(
        self, client: str, refused: Refused, now_s: float, *, event: str = REFUSED, path: str = "", by: str = ""
    ) -> None:
        """Count a refusal, and log it unless this client was logged for it in this interval.

        ``path`` and ``by``: what was asked for, and the name in the certificate, where TLS accepted it.
        """
        self._counts[refused.reason] += 1
        self._tell_of_others(now_s)
        key = (client, by, refused.reason, path)
        peer = self._peers.get(key)
        if peer is not None and now_s - peer.logged_at_s < INTERVAL_S:
            peer.unlogged += 1
            return
        self._peers = {each: found for each, found in self._peers.items() if now_s - found.logged_at_s < INTERVAL_S}
        if len(self._peers) >= LINES_MAX:
            if not self._others:
                self._others_since_s = now_s
            self._others += 1
            return
        self._peers[key] = _Peer(now_s)
        fields = {"path": path, "by": by, **_names_of(refused.presented)}
        log.warning(
            event,
            server=self.server,
            client=client,
            reason=str(refused.reason),
            because=refused.because,
            repeated=0 if peer is None else peer.unlogged,
            **{name: value for name, value in fields.items() if value},
        )

    def not_permitted(self, request: web.Request, because: str, *, event: str = REFUSED) -> None:
        """Note a request whose certificate TLS accepted, and whose names do not permit it."""
        transport = request.transport
        connection = None if transport is None else transport.get_extra_info("ssl_object")
        presented = None if connection is None else connection.getpeercert(binary_form=True)
        subject = {} if connection is None else connection.getpeercert()
        self.note(
            client_of(request.remote) if request.remote else "",
            Refused(Reason.NOT_PERMITTED, because, presented),
            asyncio.get_running_loop().time(),
            event=event,
            path=request.path,
            by=_common_name(subject),
        )

    def _tell_of_others(self, now_s: float) -> None:
        if self._others and now_s - self._others_since_s >= INTERVAL_S:
            log.warning("more clients refused than are logged", server=self.server, refused=self._others)
            self._others = 0


def _common_name(certificate: Mapping[str, Any]) -> str:
    """Return the name in a certificate that TLS accepted."""
    names = (value for relative in certificate.get("subject", ()) for key, value in relative if key == "commonName")
    return str(next(names, ""))


def _names_of(certificate: bytes | None) -> dict[str, str]:
    from leeward.kit.http.presented import names_of

    return names_of(certificate)
