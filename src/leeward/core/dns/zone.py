"""Answer a question about one of the fleet's names.

Names compare without regard to case: callers give them in lower case, without the final dot. Records are in the
text form of zone files, so that nothing here knows the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from leeward.core.dns.settings import DnsSettings, NamedApp, regional_name
from leeward.core.dns.steering import Atlas, Network, pick, user_of
from leeward.core.values import App, Region

# Names of servers change with the fleet's files only.
INFRASTRUCTURE_TTL_S = 300
NEGATIVE_TTL_MAX_S = 30
# There are no zone transfers: the serial number is not used, and all agents give the same.
SERIAL = 1
TRANSFERS = frozenset(("AXFR", "IXFR"))


class Code(StrEnum):
    """How a question went."""

    NOERROR = "NOERROR"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"
    SERVFAIL = "SERVFAIL"


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks."""

    name: str
    kind: str
    """The type: A, AAAA, NS..."""
    client: Network
    """Where the user is: as the resolver says, else the resolver's own address."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record."""

    name: str
    kind: str
    ttl_s: int
    data: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer."""

    code: Code
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    tailored: bool = False
    """It depends on where the user is."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What changes from one moment to the next."""

    shares: Mapping[App, Mapping[Region, float]]
    """Which part of its users each region should get (``standing.shares``)."""
    addresses: Mapping[str, tuple[str, ...]]
    """What the hosts of the settings' regions are known to be."""


class Zone:
    """Everything the agents of a fleet answer for, as the agent of one region does."""

    def __init__(self, settings: DnsSettings, me: Region) -> None:
        self._me = me
        self._atlas = Atlas(settings.regions)
        self._gateways = {region.name: region.gateway for region in settings.regions}
        self._apps = {app.host: app for app in settings.apps}
        self._fixed: dict[str, tuple[str, int]] = {}
        for region in settings.regions:
            self._fixed[server_name(region.name, settings.domain)] = (region.server, INFRASTRUCTURE_TTL_S)
            self._fixed[f"gateway.{region.name}.{settings.domain}"] = (region.gateway, INFRASTRUCTURE_TTL_S)
        for app in settings.apps:
            for name in app.regions:
                self._fixed[regional_name(app.host, name)] = (self._gateways[name], app.ttl_s)
        self._servers = tuple(server_name(region.name, settings.domain) for region in settings.regions)
        outside = {name for app in settings.apps for name in (app.host, *_regional(app))}
        outside = {name for name in outside if not within(name, settings.domain)}
        # A name outside the fleet's domain is a zone of its own.
        self._apexes = frozenset((settings.domain, *outside))
        self._names = {*self._apps, *self._fixed, *self._apexes}
        self._names |= {parent for name in self._names for parent in self._above(name)}
        self._negative_s = min([NEGATIVE_TTL_MAX_S, *(app.ttl_s for app in settings.apps)])

    def answer(self, question: Question, situation: Situation) -> Answer:
        """Return the answer to a question of class IN."""
        apex = self._apex(question.name)
        if apex is None or question.kind in TRANSFERS:
            return Answer(Code.REFUSED)
        if question.name not in self._names:
            return Answer(Code.NXDOMAIN, authority=(self._start(apex),))
        if question.kind == "ANY":
            # The shortest possible answer (RFC 8482): it cannot be used to amplify a flood.
            return Answer(Code.NOERROR, (Record(question.name, "HINFO", INFRASTRUCTURE_TTL_S, '"RFC8482" ""'),))
        if question.name == apex and question.kind in ("SOA", "NS"):
            return self._of_apex(apex, question.kind, situation)
        app = self._apps.get(question.name)
        if app is not None:
            return self._of_app(app, apex, question, situation)
        host, ttl_s = self._fixed.get(question.name, (None, 0))
        if host is None:
            return self._no_data(apex)
        return self._of_hosts((host,), ttl_s, apex, question, situation)

    def regions(self, app: NamedApp, near: Region, user: str, situation: Situation) -> tuple[Region, ...]:
        """Return the regions whose addresses a user near a region gets."""
        shares = situation.shares.get(app.app, {})
        # Without an address a region cannot be named, fit or not.
        reachable = {r: share for r, share in shares.items() if situation.addresses.get(self._gateways[r])}
        return pick(app, near, reachable, user)

    def _of_app(self, app: NamedApp, apex: str, question: Question, situation: Situation) -> Answer:
        if question.kind not in ("A", "AAAA"):
            return self._no_data(apex)
        near = self._atlas.near(question.client, self._me)
        regions = self.regions(app, near, user_of(question.client), situation)
        hosts = tuple(self._gateways[region] for region in regions)
        return self._of_hosts(hosts, app.ttl_s, apex, question, situation, tailored=True)

    def _of_hosts(
        self,
        hosts: tuple[str, ...],
        ttl_s: int,
        apex: str,
        question: Question,
        situation: Situation,
        *,
        tailored: bool = False,
    ) -> Answer:
        known = [address for host in hosts for address in situation.addresses.get(host, ())]
        if not known:
            # After this a resolver asks another server; a negative answer it would cache.
            return Answer(Code.SERVFAIL)
        records = _addresses(question.name, question.kind, ttl_s, known)
        if not records:
            return self._no_data(apex, tailored=tailored)
        return Answer(Code.NOERROR, records, tailored=tailored)

    def _of_apex(self, apex: str, kind: str, situation: Situation) -> Answer:
        if kind == "SOA":
            return Answer(Code.NOERROR, (self._start(apex),))
        glue = tuple(
            record
            for server in self._servers
            for address_kind in ("A", "AAAA")
            for record in _addresses(
                server, address_kind, INFRASTRUCTURE_TTL_S, situation.addresses.get(self._fixed[server][0], ())
            )
        )
        servers = tuple(Record(apex, "NS", INFRASTRUCTURE_TTL_S, f"{server}.") for server in self._servers)
        return Answer(Code.NOERROR, servers, additional=glue)

    def _no_data(self, apex: str, *, tailored: bool = False) -> Answer:
        return Answer(Code.NOERROR, authority=(self._start(apex),), tailored=tailored)

    def _start(self, apex: str) -> Record:
        times = f"{INFRASTRUCTURE_TTL_S} {INFRASTRUCTURE_TTL_S} 86400 {self._negative_s}"
        return Record(apex, "SOA", self._negative_s, f"{self._servers[0]}. hostmaster.{apex}. {SERIAL} {times}")

    def _apex(self, name: str) -> str | None:
        above = [apex for apex in self._apexes if within(name, apex)]
        return max(above, key=len, default=None)

    def _above(self, name: str) -> list[str]:
        """Return the names between a name and its zone's apex: they are there, though they hold nothing."""
        apex, found = self._apex(name), []
        while apex is not None and name != apex:
            name = name.partition(".")[2]
            found.append(name)
        return found


def server_name(region: str, domain: str) -> str:
    """Return the name of a region's DNS server."""
    return f"ns.{region}.{domain}"


def within(name: str, zone: str) -> bool:
    """Whether a name is a zone's apex or below it."""
    return name == zone or name.endswith(f".{zone}")


def _regional(app: NamedApp) -> list[str]:
    return [regional_name(app.host, region) for region in app.regions]


def _addresses(name: str, kind: str, ttl_s: int, addresses: list[str] | tuple[str, ...]) -> tuple[Record, ...]:
    version = {"A": 4, "AAAA": 6}.get(kind)
    return tuple(Record(name, kind, ttl_s, text) for text in addresses if ip_address(text).version == version)
