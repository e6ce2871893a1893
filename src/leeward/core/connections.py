"""Which connection must go when there are too many. Pure: callers keep the clock and the sockets.

Always true: there are at most so many in all and per client. One that was never used goes before one that was, then the
one that was idle longest (RFC 7766, 6.2.3); one whose question is being answered stays.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

CLIENT_PREFIX = 64
"""Of IPv6: whoever has one address usually has all of that prefix."""


@dataclass(frozen=True, slots=True)
class Admission(Generic[K]):
    """Whether a new connection is admitted, and at which other one's cost."""

    admitted: bool
    close: K | None = None
    """The connection that must be closed for it."""


@dataclass(slots=True)
class _Held:
    client: str
    used_at_s: float
    used: bool = False
    busy: bool = False


class Connections(Generic[K]):
    """The connections of one server."""

    def __init__(self, in_all: int, per_client: int) -> None:
        self._in_all = in_all
        self._per_client = per_client
        self._held: dict[K, _Held] = {}
        self._of_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, connection: K, client: str, now_s: float) -> Admission[K]:
        """Take a connection in. The caller closes the one that is named, and the new one when it is not admitted."""
        close = None
        if self._of_client[client] >= self._per_client:
            close = self._idlest(client)
        elif len(self._held) >= self._in_all:
            close = self._idlest(None)
        else:
            self._add(connection, client, now_s)
            return Admission(True)
        if close is None:
            return Admission(False)
        self.drop(close)
        self._add(connection, client, now_s)
        return Admission(True, close)

    def begin(self, connection: K) -> None:
        """Note that a question is being answered."""
        held = self._held.get(connection)
        if held is not None:
            held.busy = held.used = True

    def end(self, connection: K, now_s: float) -> None:
        """Note that it was answered."""
        held = self._held.get(connection)
        if held is not None:
            held.busy, held.used_at_s = False, now_s

    def drop(self, connection: K) -> None:
        """Forget a connection; no harm when it is unknown."""
        held = self._held.pop(connection, None)
        if held is not None:
            self._of_client[held.client] -= 1
            if not self._of_client[held.client]:
                del self._of_client[held.client]

    def _add(self, connection: K, client: str, now_s: float) -> None:
        self._held[connection] = _Held(client, now_s)
        self._of_client[client] += 1

    def _idlest(self, client: str | None) -> K | None:
        idle = [
            (held.used, held.used_at_s, connection)
            for connection, held in self._held.items()
            if not held.busy and client in (None, held.client)
        ]
        return min(idle, key=lambda each: each[:2])[2] if idle else None


def client_of(address: str) -> str:
    """Return the client that connections from an address count for: the address, or the prefix of an IPv6 one."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv6Address):
        if plain.ipv4_mapped is not None:
            return str(plain.ipv4_mapped)
        return str(ip_network(f"{plain}/{CLIENT_PREFIX}", strict=False))
    return str(plain)
