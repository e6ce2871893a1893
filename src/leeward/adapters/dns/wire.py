"""From the bytes of a query to the bytes of its answer. No sockets.

Always true: at most one answer per query, never to an answer, never longer than the asker and ordinary paths take.
"""

import secrets
import struct
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import structlog

from leeward.core.dns.zone import Answer, Question, Record

Ask = Callable[[Question], Answer]

log = structlog.get_logger()

HEADER = struct.Struct("!HHHHHH")
# What fits into one frame on any path, after the flag day of 2020; without EDNS it is RFC 1035's.
UDP_SIZE = 1232
PLAIN_SIZE = 512
TCP_SIZE = 65535
ANSWERS_KEPT = 4096
QUESTION_KEPT_MAX = 512
"""Bytes of a question whose answer is kept."""
IS_ANSWER = 0x8000
OPCODE = 0x7800
WANTS_RECURSION = 0x0100


class Responder:
    """Answers queries; what was answered is kept until ``clear_cache``."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._kept: dict[tuple[bytes, str, bool], bytes] = {}

    def clear_cache(self) -> None:
        """Drop all cached answers: something has changed."""
        self._kept.clear()

    def respond(self, wire: bytes, client: str, *, tcp: bool = False) -> bytes | None:
        """Return the answer to a query from ``client``'s address; None when it gets none."""
        if len(wire) < HEADER.size or wire[2] & (IS_ANSWER >> 8):
            return None
        # All but its number, which is new every time.
        key = (wire[2:], client, tcp)
        kept = self._kept.get(key)
        if kept is None:
            try:
                kept = self._answer(wire, client, tcp=tcp)[2:]
            except Exception as error:
                number = secrets.token_hex(8)
                log.exception("query failed", request=number, error=type(error).__name__, because=str(error))
                return _bare(wire, dns.rcode.SERVFAIL)
            # An ordinary question is short: a flood of long ones must not fill the memory.
            if len(wire) <= QUESTION_KEPT_MAX:
                if len(self._kept) >= ANSWERS_KEPT:
                    self._kept.clear()
                self._kept[key] = kept
        return wire[:2] + kept

    def _answer(self, wire: bytes, client: str, *, tcp: bool) -> bytes:
        # Of other operations, updates and notifications among them, nothing but the name is known.
        if wire[2] & (OPCODE >> 8):
            return _bare(wire, dns.rcode.NOTIMP)
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return _bare(wire, dns.rcode.FORMERR)
        if len(query.question) != 1:
            return _bare(wire, dns.rcode.FORMERR)
        response = dns.message.make_response(query, our_payload=UDP_SIZE)
        size = TCP_SIZE if tcp else PLAIN_SIZE
        if query.edns > 0:
            response.use_edns(0, payload=UDP_SIZE)
            response.set_rcode(dns.rcode.BADVERS)
        elif query.question[0].rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            self._fill(response, query, client)
        if query.edns >= 0 and not tcp:
            size = min(max(PLAIN_SIZE, query.payload), UDP_SIZE)
        try:
            return response.to_wire(max_size=size)
        except dns.exception.TooBig:
            for section in (response.answer, response.authority, response.additional):
                section.clear()
            response.flags |= dns.flags.TC
            return response.to_wire(max_size=size)

    def _fill(self, response: dns.message.Message, query: dns.message.Message, client: str) -> None:
        asked = query.question[0]
        subnet = next((option for option in query.options if isinstance(option, dns.edns.ECSOption)), None)
        has_subnet = subnet is not None and subnet.srclen > 0
        network = f"{subnet.address}/{subnet.srclen}" if subnet is not None and has_subnet else client
        name = asked.name.to_text(omit_final_dot=True).lower()
        answer = self._ask(Question(name, dns.rdatatype.to_text(asked.rdtype), ip_network(network, strict=False)))
        response.set_rcode(dns.rcode.from_text(answer.code))
        if answer.code in ("NOERROR", "NXDOMAIN"):
            response.flags |= dns.flags.AA
        for records, section in (
            (answer.records, response.answer),
            (answer.authority, response.authority),
            (answer.additional, response.additional),
        ):
            _add(records, section, asked.name)
        if subnet is not None:
            scope = subnet.srclen if answer.tailored and has_subnet else 0
            echo = dns.edns.ECSOption(subnet.address, subnet.srclen, scope)
            response.use_edns(0, payload=UDP_SIZE, options=[echo])


def _add(records: tuple[Record, ...], section: list[dns.rrset.RRset], asked: dns.name.Name) -> None:
    sets: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        sets.setdefault((record.name, record.kind), []).append(record)
    for (name, kind), alike in sets.items():
        owner = dns.name.from_text(name)
        # The name keeps the client's spelling: some resolvers randomize its case and check the answer (DNS 0x20).
        owner = asked if owner == asked else owner
        section.append(dns.rrset.from_text(owner, alike[0].ttl_s, "IN", kind, *(record.data for record in alike)))


def _bare(wire: bytes, code: dns.rcode.Rcode) -> bytes:
    """Return an answer to a query that is malformed or not supported: a header with a response code."""
    number, flags, *_ = HEADER.unpack_from(wire)
    return HEADER.pack(number, IS_ANSWER | flags & (OPCODE | WANTS_RECURSION) | code, 0, 0, 0, 0)


def plain_address(host: str) -> str:
    """Return an address without its zone, and an IPv4 one that came in an IPv6 one as itself."""
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
