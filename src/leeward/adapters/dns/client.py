"""Send one query to one DNS server, as a user near some network would."""

from dataclasses import dataclass

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype


class NoAnswerError(Exception):
    """The server did not answer in time, or sent an invalid answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer."""

    code: str
    """NOERROR, NXDOMAIN..."""
    addresses: tuple[str, ...]
    ttl_s: int | None
    """None without addresses."""


async def ask(host: str, port: int, name: str, *, near: str | None, timeout_s: float) -> Reply:
    """Return which IPv4 addresses a name leads to, over TCP; ``near`` is the user's network, as a prefix.

    Raises NoAnswerError.
    """
    subnet: list[dns.edns.Option] | None = None
    if near is not None:
        address, _, length = near.partition("/")
        subnet = [dns.edns.ECSOption(address, int(length))]
    query = dns.message.make_query(name, dns.rdatatype.A, use_edns=0, options=subnet)
    query.flags &= ~dns.flags.RD
    try:
        response = await dns.asyncquery.tcp(query, host, timeout=timeout_s, port=port)
    except (OSError, EOFError, TimeoutError, dns.exception.DNSException) as error:
        raise NoAnswerError(str(error) or type(error).__name__) from error
    found = [rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.A]
    return Reply(
        code=dns.rcode.to_text(response.rcode()),
        addresses=tuple(rdata.to_text() for rrset in found for rdata in rrset),
        ttl_s=min((rrset.ttl for rrset in found), default=None),
    )
