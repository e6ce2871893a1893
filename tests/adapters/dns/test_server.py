"""The server over real sockets, asked by dnspython, and the bytes it must survive."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import dns.asyncquery
import dns.asyncresolver
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, target
from hypothesis import strategies as st
from structlog.testing import capture_logs

from leeward.adapters.dns import client, lookup, server
from leeward.adapters.dns.client import NoAnswerError
from leeward.adapters.dns.server import DnsServer
from leeward.adapters.dns.threaded import ThreadedDnsServer
from leeward.adapters.dns.wire import HEADER, UDP_SIZE, Responder, plain_address
from leeward.core.dns.zone import Answer, Code, Question, Record, Situation, Zone
from leeward.core.values import Region
from tests.core.dns.test_zone import ADDRESSES
from tests.core.dns.zones import ALL, APP, EU, HOST, US, settings
from tests.guided import lines_of
from tests.kit.waiting import until

TIMEOUT_S = 60
LISTEN = "127.0.53.1"
"""Our own address: elsewhere another program may hold the UDP port with the number that was free for TCP."""


@dataclass
class Names:
    """The zone of the core's tests, whose regions go and come, and one name with more addresses than fit."""

    shares: dict[Region, float] = field(default_factory=lambda: dict(ALL))
    asked: list[Question] = field(default_factory=list)

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if question.name == "many.example.com":
            records = (Record(question.name, "A", 5, f"10.0.{n // 250}.{n % 250}") for n in range(100))
            return Answer(Code.NOERROR, tuple(records))
        return Zone(settings(), EU).answer(question, Situation({APP: self.shares}, ADDRESSES))


@dataclass
class Running:
    names: Names
    server: DnsServer | ThreadedDnsServer

    async def udp(self, query: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.udp(query, LISTEN, timeout=TIMEOUT_S, port=self.server.port)

    async def tcp(self, query: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.tcp(query, LISTEN, timeout=TIMEOUT_S, port=self.server.port)


@pytest.fixture(params=[DnsServer, ThreadedDnsServer])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    names = Names()
    async with request.param(LISTEN, 0, names.answer) as server:
        yield Running(names, server)


def near(prefix: str) -> list[dns.edns.Option]:
    address, _, length = prefix.partition("/")
    return [dns.edns.ECSOption(address, int(length))]


def addresses(response: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in response.answer for rdata in rrset]


async def test_both_ways_say_the_same(running: Running) -> None:
    query = dns.message.make_query(HOST, "A")
    over_udp, over_tcp = await running.udp(query), await running.tcp(query)
    assert over_udp == over_tcp
    assert addresses(over_udp) == ["192.0.2.2"]
    assert over_udp.flags & dns.flags.AA
    assert not over_udp.flags & dns.flags.RA
    assert over_udp.answer[0].ttl == 5


async def test_an_ordinary_resolver_is_content(running: Running) -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [LISTEN], running.server.port, TIMEOUT_S
    assert [rdata.to_text() for rdata in await resolver.resolve(HOST, "A")] == ["192.0.2.2"]
    assert len((await resolver.resolve("example.com", "NS")).rrset or ()) == 3
    with pytest.raises(dns.resolver.NXDOMAIN):
        await resolver.resolve("nothing.example.com", "A")
    with pytest.raises(dns.resolver.NoAnswer):
        await resolver.resolve(HOST, "AAAA")


async def test_letters_come_back_as_they_were_written(running: Running) -> None:
    response = await running.udp(dns.message.make_query("ShOp.eXample.COM", "A"))
    assert response.question[0].name.to_text() == "ShOp.eXample.COM."
    assert response.answer[0].name.to_text() == "ShOp.eXample.COM."
    assert addresses(response) == ["192.0.2.2"]


@pytest.mark.parametrize(
    ("subnet", "address", "scope"),
    [("10.1.2.0/24", "192.0.2.1", 24), ("2001:db8:3::/56", "192.0.2.3", 56), ("0.0.0.0/0", "192.0.2.2", 0)],
)
async def test_the_users_network_decides_and_comes_back(
    running: Running, subnet: str, address: str, scope: int
) -> None:
    response = await running.udp(dns.message.make_query(HOST, "A", options=near(subnet)))
    assert addresses(response) == [address]
    (option,) = response.options
    assert isinstance(option, dns.edns.ECSOption)
    assert f"{option.address}/{option.srclen}" == subnet
    assert option.scopelen == scope


async def test_an_answer_for_everybody_has_no_scope(running: Running) -> None:
    response = await running.udp(dns.message.make_query("shop-us.example.com", "A", options=near("10.2.2.0/24")))
    (option,) = response.options
    assert isinstance(option, dns.edns.ECSOption)
    assert option.scopelen == 0


async def test_changes_are_answered_once_told(running: Running) -> None:
    query = dns.message.make_query(HOST, "A", options=near("10.1.2.0/24"))
    assert addresses(await running.udp(query)) == ["192.0.2.1"]
    running.names.shares[US] = 0.0
    running.server.clear_cache()
    # The server in a thread of its own hears of it a moment later.
    await until(
        lambda: running.udp(query),
        accept=lambda answer: addresses(answer) != ["192.0.2.1"],
        within_s=TIMEOUT_S,
        every_s=0,
    )
    assert addresses(await running.tcp(query)) == ["192.0.2.2"]


async def test_what_was_answered_is_not_worked_out_again(running: Running) -> None:
    numbers = set()
    for _ in range(5):
        response = await running.udp(dns.message.make_query(HOST, "A"))
        numbers.add(response.id)
        assert addresses(response) == ["192.0.2.2"]
    assert len(running.names.asked) == 1
    assert len(numbers) > 1


@pytest.mark.parametrize("payload", [None, 512, 1232, 4096])
async def test_what_does_not_fit_is_fetched_over_tcp(running: Running, payload: int | None) -> None:
    query = dns.message.make_query("many.example.com", "A")
    if payload is not None:
        query.use_edns(0, payload=payload)
    short = await running.udp(query)
    assert short.flags & dns.flags.TC
    assert short.answer == []
    assert len(short.to_wire()) <= min(payload or 512, UDP_SIZE)
    assert len(addresses(await running.tcp(query))) == 100


async def test_who_says_that_more_fits_gets_no_more_than_paths_carry(running: Running) -> None:
    query = dns.message.make_query("many.example.com", "A", use_edns=0, payload=65000)
    assert (await running.udp(query)).flags & dns.flags.TC


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (dns.message.make_query("example.org", "A"), dns.rcode.REFUSED),
        (dns.message.make_query("example.com", "AXFR"), dns.rcode.REFUSED),
        (dns.message.make_query("version.bind", "TXT", "CH"), dns.rcode.REFUSED),
        (dns.message.make_query(HOST, "A", use_edns=1), dns.rcode.BADVERS),
    ],
)
async def test_what_is_refused(running: Running, query: dns.message.Message, code: dns.rcode.Rcode) -> None:
    response = await running.udp(query)
    assert response.rcode() == code
    assert response.answer == []
    assert not response.flags & dns.flags.AA


async def test_anything_is_next_to_nothing(running: Running) -> None:
    query = dns.message.make_query(HOST, "ANY")
    response = await running.udp(query)
    assert [rrset.rdtype for rrset in response.answer] == [dns.rdatatype.HINFO]
    assert len(response.to_wire()) < 2 * len(query.to_wire())


async def test_one_connection_asks_again_and_again(running: Running) -> None:
    reader, writer = await asyncio.open_connection(LISTEN, running.server.port)
    for _ in range(3):
        query = dns.message.make_query(HOST, "A")
        wire = query.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        assert query.is_response(dns.message.from_wire(await reader.readexactly(length)))
    writer.close()


async def gone(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(TIMEOUT_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    return True


@pytest.mark.parametrize(("limit", "sent"), [("FIRST_S", b""), ("MESSAGE_S", b"\0"), ("MESSAGE_S", b"\0\x20abc")])
async def test_the_slow_are_hung_up_on(
    running: Running, monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes
) -> None:
    monkeypatch.setattr(server, limit, 0.05)
    reader, writer = await asyncio.open_connection(LISTEN, running.server.port)
    writer.write(sent)
    assert await gone(reader)
    writer.close()


async def test_who_asks_nothing_more_is_hung_up_on(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.05)
    reader, writer = await open_and_ask(running)
    assert await gone(reader)
    writer.close()


async def test_who_takes_no_answers_is_hung_up_on(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MESSAGE_S", 0.2)
    writer = (await asyncio.open_connection(LISTEN, running.server.port, limit=1))[1]
    wire = dns.message.make_query("many.example.com", "A").to_wire()

    async def flood() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                writer.write((struct.pack("!H", len(wire)) + wire) * 100)
                await writer.drain()

    with pytest.raises(ConnectionError):
        await flood()
    writer.close()


async def open_and_ask(
    running: Running, address: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(LISTEN, running.server.port, local_addr=(address, 0))
    await ask_again(reader, writer)
    return reader, writer


async def ask_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    wire = dns.message.make_query(HOST, "A").to_wire()
    writer.write(struct.pack("!H", len(wire)) + wire)
    async with asyncio.timeout(TIMEOUT_S):
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        await reader.readexactly(length)


@pytest.fixture(params=[DnsServer, ThreadedDnsServer])
async def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A server with room for four connections, two of each client."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(server, "PER_CLIENT_MAX", 2)
    names = Names()
    async with request.param(LISTEN, 0, names.answer) as started:
        yield Running(names, started)


async def test_silent_connections_do_not_shut_others_out(small: Running) -> None:
    port = small.server.port
    silent = [
        await asyncio.open_connection(LISTEN, port, local_addr=(f"127.0.0.{2 + number}", 0)) for number in range(128)
    ]
    query = dns.message.make_query(HOST, "A")
    assert addresses(await small.tcp(query)) == ["192.0.2.2"]
    assert addresses(await small.udp(query)) == ["192.0.2.2"]
    for _, writer in silent:
        writer.close()


async def test_the_idlest_goes_first(small: Running) -> None:
    first, second, third = [await open_and_ask(small, f"127.0.0.{number}") for number in (2, 3, 4)]
    silent = await asyncio.open_connection(LISTEN, small.server.port, local_addr=("127.0.0.5", 0))
    await ask_again(*first)
    fourth = await open_and_ask(small, "127.0.0.6")
    assert await gone(silent[0]), "it never asked"
    fifth = await open_and_ask(small, "127.0.0.7")
    assert await gone(second[0]), "it asked longest ago"
    for each in (first, third, fourth, fifth):
        await ask_again(*each)
    for _, writer in (first, second, third, fourth, fifth, silent):
        writer.close()


async def test_a_client_has_its_share(small: Running) -> None:
    other = await open_and_ask(small, "127.0.0.3")
    mine = [await open_and_ask(small, "127.0.0.2") for _ in range(3)]
    assert await gone(mine[0][0])
    for each in (other, *mine[1:]):
        await ask_again(*each)
    for _, writer in (other, *mine):
        writer.close()


async def test_a_port_that_is_taken_is_said(running: Running) -> None:
    with pytest.raises(OSError, match="in use"):
        async with type(running.server)(LISTEN, running.server.port, running.names.answer):
            pass


async def test_the_client(running: Running) -> None:
    port = running.server.port
    reply = await client.ask(LISTEN, port, HOST, near="10.1.0.0/16", timeout_s=TIMEOUT_S)
    assert (reply.code, reply.addresses, reply.ttl_s) == ("NOERROR", ("192.0.2.1",), 5)
    reply = await client.ask(LISTEN, port, "no.example.com", near=None, timeout_s=TIMEOUT_S)
    assert (reply.code, reply.addresses, reply.ttl_s) == ("NXDOMAIN", (), None)


async def test_the_client_of_nobody(unused_tcp_port: int) -> None:
    with pytest.raises(NoAnswerError):
        await client.ask(LISTEN, unused_tcp_port, HOST, near=None, timeout_s=TIMEOUT_S)


# -- bytes ------------------------------------------------------------------------------------------

QUERY = dns.message.make_query(HOST, "A", options=near("10.1.2.0/24")).to_wire()


def respond(wire: bytes) -> bytes | None:
    return Responder(Names().answer).respond(wire, "203.0.113.1")


def code_of(wire: bytes | None) -> int:
    assert wire is not None
    _number, flags, *_ = HEADER.unpack_from(wire)
    return int(flags & 0xF)


def ecs(family: int, source: int, data: bytes) -> bytes:
    body = struct.pack("!HBB", family, source, 0) + data
    query = dns.message.make_query(HOST, "A", options=[dns.edns.GenericOption(8, body)])
    return query.to_wire()


def test_an_answer_is_not_answered() -> None:
    assert respond(dns.message.make_response(dns.message.from_wire(QUERY)).to_wire()) is None


@pytest.mark.parametrize("length", range(HEADER.size))
def test_too_short_to_answer(length: int) -> None:
    assert respond(QUERY[:length]) is None


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(QUERY[:-1], dns.rcode.FORMERR, id="cut short"),
        pytest.param(QUERY + b"x", dns.rcode.FORMERR, id="more than it says"),
        pytest.param(HEADER.pack(1, 0, 0, 0, 0, 0), dns.rcode.FORMERR, id="no question"),
        pytest.param(HEADER.pack(1, 0, 2, 0, 0, 0) + 2 * b"\0\0\1\0\1", dns.rcode.FORMERR, id="two questions"),
        pytest.param(
            HEADER.pack(1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR, id="a name that never ends"
        ),
        pytest.param(ecs(1, 24, b"\1\2"), dns.rcode.FORMERR, id="a network cut short"),
        pytest.param(ecs(1, 33, b"\1\2\3\4\5"), dns.rcode.FORMERR, id="a network too long"),
        pytest.param(ecs(7, 8, b"\1"), dns.rcode.FORMERR, id="no such kind of network"),
        pytest.param(ecs(1, 20, b"\1\2\xff"), dns.rcode.FORMERR, id="a network with an address in it"),
        pytest.param(HEADER.pack(1, dns.opcode.UPDATE << 11, 1, 0, 0, 0), dns.rcode.NOTIMP, id="an update"),
        pytest.param(HEADER.pack(1, dns.opcode.NOTIFY << 11, 1, 0, 0, 0), dns.rcode.NOTIMP, id="a notification"),
    ],
)
def test_a_broken_query(wire: bytes, code: dns.rcode.Rcode) -> None:
    response = respond(wire)
    assert code_of(response) == code
    assert response is not None
    assert response[:2] == wire[:2]
    assert len(response) == HEADER.size


def test_a_failure_inside_is_answered_and_logged_with_a_number() -> None:
    def fails(question: Question) -> Answer:
        raise RuntimeError("secret detail")

    with capture_logs() as logs:
        response = Responder(fails).respond(QUERY, "203.0.113.1")
    assert code_of(response) == dns.rcode.SERVFAIL
    (line,) = logs
    assert (line["event"], line["because"], len(line["request"])) == ("query failed", "secret detail", 16)


def test_long_questions_are_answered_and_not_kept() -> None:
    responder = Responder(Names().answer)
    padded = dns.message.make_query(HOST, "A", options=[dns.edns.GenericOption(12, bytes(60_000))])
    query = padded.to_wire(max_size=65535)
    assert code_of(responder.respond(query, "203.0.113.1", tcp=True)) == dns.rcode.NOERROR
    assert responder._kept == {}


@given(st.data())
def test_any_question_that_dnspython_can_write(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
    name = dns.name.Name((*labels, *(b"example", b"com")[data.draw(st.integers(0, 2)) :], b""))
    query = dns.message.QueryMessage(id=data.draw(st.integers(0, 65535)))
    for _ in range(data.draw(st.integers(0, 2))):
        kind = dns.rdatatype.RdataType.make(data.draw(st.integers(1, 65535)))
        query.find_rrset(query.question, name, dns.rdataclass.IN, kind, create=True, force_unique=True)
    if data.draw(st.booleans()):
        codes, contents = st.integers(0, 65535), st.binary(max_size=40)
        drawn = data.draw(st.lists(st.tuples(st.one_of(st.just(8), codes), contents), max_size=3))
        options = [dns.edns.GenericOption(code, content) for code, content in drawn]
        query.use_edns(data.draw(st.integers(0, 2)), payload=data.draw(st.integers(0, 65535)), options=options)
    wire = query.to_wire()
    for tcp in (False, True):
        with capture_logs() as logs:
            response = Responder(Names().answer).respond(wire, "203.0.113.1", tcp=tcp)
        assert logs == []
        assert response is not None
        dns.message.from_wire(response)


@given(st.binary(max_size=600))
def test_any_bytes(wire: bytes) -> None:
    check(wire)


@given(st.data())
def test_almost_a_query(data: st.DataObject) -> None:
    wire = bytearray(QUERY)
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(wire))


def check(wire: bytes) -> None:
    with capture_logs() as logs, lines_of("leeward/adapters/dns") as lines:
        response = respond(wire)
    target(float(len(lines)), label="lines of the DNS server")
    assert logs == []
    if response is not None:
        assert response[:2] == wire[:2]
        assert response[2] & 0x80
        assert len(response) <= UDP_SIZE
        dns.message.from_wire(response, ignore_trailing=False)


def test_a_flood_of_different_questions_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leeward.adapters.dns.wire.ANSWERS_KEPT", 10)
    responder = Responder(Names().answer)
    for number in range(25):
        query = dns.message.make_query(f"{number}.example.com", "A", id=1).to_wire()
        assert code_of(responder.respond(query, "203.0.113.1")) == dns.rcode.NXDOMAIN
        assert 0 < len(responder._kept) <= 10


@pytest.mark.parametrize(
    ("host", "plain"), [("203.0.113.1", "203.0.113.1"), ("fe80::1%eth0", "fe80::1"), ("::ffff:10.1.0.1", "10.1.0.1")]
)
def test_plain_addresses(host: str, plain: str) -> None:
    assert plain_address(host) == plain


async def test_hosts_are_looked_up() -> None:
    assert lookup.literal("10.0.0.1") == ("10.0.0.1",)
    assert lookup.literal("localhost") == ()
    assert "127.0.0.1" in await lookup.addresses("localhost")
    assert await lookup.addresses("no.such.host.invalid") == ()
