"""Look up where hosts are, with the resolver of the machine."""

import asyncio
import socket
from ipaddress import ip_address

TIMEOUT_S = 5.0


def literal(host: str) -> tuple[str, ...]:
    """Return the host if it is a literal address; empty for a name."""
    try:
        return (str(ip_address(host)),)
    except ValueError:
        return ()


async def addresses(host: str) -> tuple[str, ...]:
    """Return a host's addresses, in a stable order; empty when the resolver returns none in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return ()
    return tuple(sorted({str(entry[4][0]) for entry in found}))
