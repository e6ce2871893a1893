"""The names that a fleet answers for: reserved ones, those that cannot be used, and those that two would answer to.

Always true: a name leads to one application, one gateway or one DNS server, and never to another one.
"""

from collections.abc import Iterator, Sequence

from leeward.base.problem import Problem
from leeward.core.dns.settings import regional_name
from leeward.core.dns.zone import server_name, within
from leeward.spec import dns_names
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.overrides import Environment, Override
from leeward.spec.source import Place
from leeward.spec.spec import domain_of, placement, public_name

RESERVED_REGIONS = {
    "operator": "certificates with this name are the operator's",
    "localhost": "every region's certificate is valid for this name too",
}


def check_region_names(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    """Yield regions whose names are taken, or cannot be part of DNS names."""
    domain = domain_of(fleet.model)
    regions = fleet.model.spec.regions
    for index, region in enumerate(regions):
        place: Place = ("spec", "regions", index, "name")
        if region.name in RESERVED_REGIONS:
            yield fleet.problem(
                "reserved-name",
                *place,
                what=f"a region cannot be called {region.name}",
                why=RESERVED_REGIONS[region.name],
                fix="choose another name",
            )
        yield from _unusable(fleet, place, f"region {region.name}", server_name(region.name, domain))
        yield from _unusable(fleet, place, f"region {region.name}", f"gateway.{region.name}.{domain}")
    implied = {region.name: index for index, region in enumerate(regions) if not region.clusters}
    for index, region in enumerate(regions):
        for number, cluster in enumerate(region.clusters):
            if cluster.name in implied:
                yield fleet.problem(
                    "duplicate-name",
                    *("spec", "regions", index, "clusters", number, "name"),
                    what=f"a cluster of {region.name} has the same name as region {cluster.name}",
                    why=f"the only cluster of {cluster.name} has the region's name by default",
                    fix="give the cluster another name",
                )


def check_public_names(applications: Sequence[Loaded[Application]], fleet: Fleet) -> Iterator[Problem]:
    """Yield applications that answer to a name of the fleet's, or of an earlier application; one problem each."""
    by_name = {application.model.metadata.name: application for application in applications}
    first: dict[str, Loaded[Application]] = {}
    for application in applications:
        found = _of_application(application, fleet, by_name, first)
        problem = next(found, None)
        if problem is not None:
            yield problem
        for name, _ in _names(application, fleet):
            first.setdefault(name, application)


def _of_application(
    application: Loaded[Application],
    fleet: Fleet,
    by_name: dict[str, Loaded[Application]],
    first: dict[str, Loaded[Application]],
) -> Iterator[Problem]:
    app = application.model.metadata.name
    for name, place in _names(application, fleet):
        if name.startswith(dns_names.PUNYCODE):
            yield application.problem(
                "unusable-name",
                *place,
                what=f"{app} would be called {name}, and its first label is punycode",
                why="regions' names are made from that label, and with more behind it punycode means something else",
                fix="use punycode in other labels than the first",
            )
        yield from _unusable(application, place, app, f"hostmaster.{name}")
        for region in fleet.spec.regions:
            own = f"{region.name}.{domain_of(fleet)}"
            if within(name, own):
                yield application.problem(
                    "reserved-host",
                    *place,
                    what=f"{app} would be called {name}, and that is a name of region {region.name}",
                    why=f"{own} and the names below it are the region's: its gateway's and its DNS server's",
                    fix="give it another traffic.host, or another name",
                )
        other = first.get(name)
        if other is not None:
            yield application.problem(
                "shared-host",
                *place,
                what=f"{app} and {other.model.metadata.name} are both called {name}",
                why="gateways and DNS tell applications apart by their public names",
                fix="give one of them another traffic.host",
            )
        label = name.partition(".")[0]
        named = by_name.get(label, application)
        # Where both answer to the whole name, it is reported for the later one.
        if named is not application and name not in dict(_names(named, fleet)):
            yield application.problem(
                "shared-host",
                *place,
                what=f"{app} would be called {name}, and gateways send {label}.* to application {label}",
                why="gateways tell applications apart by the host that is asked for",
                fix=f"begin {app}'s traffic.host with another label",
            )


def _names(application: Loaded[Application], fleet: Fleet) -> Iterator[tuple[str, Place]]:
    """Yield the names an application answers to, anywhere: its public ones, and of each those of its regions."""
    model = application.model
    stated: Place = ("spec", "traffic", "host") if model.spec.traffic.host is not None else ("metadata", "name")
    hosts: list[tuple[str, Place]] = [(public_name(fleet, model), stated)]
    layers: tuple[tuple[str, Sequence[Environment | Override]], ...] = (
        ("environments", model.spec.environments),
        ("overrides", model.spec.overrides),
    )
    for key, found in layers:
        for index, layer in enumerate(found):
            traffic = layer.spec.get("traffic")
            host = traffic.get("host") if isinstance(traffic, dict) else None
            # An invalid name is reported elsewhere.
            if isinstance(host, str) and dns_names.wrong(host) is None:
                hosts.append((dns_names.compared(host), ("spec", key, index, "spec", "traffic", "host")))
    for host, place in hosts:
        yield host, place
        for region in placement(fleet, model):
            yield regional_name(host, region), place


def _unusable(loaded: Loaded[Application] | Loaded[Fleet], place: Place, whose: str, name: str) -> Iterator[Problem]:
    because = dns_names.wrong(name)
    if because is not None:
        yield loaded.problem(
            "unusable-name",
            *place,
            what=f"{whose} would answer to {name}, which is not a DNS name",
            why=because,
            fix="use shorter names for it, its regions or its domain",
        )
