"""What no single field of a fleet shows: too few regions, duplicates, references to nothing, overlaps."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network

from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.problem import Problem
from leeward.spec.source import Place
from leeward.spec.validate import suggestion

REGIONS_MIN = 3


def check_fleet(fleet: Loaded[Fleet]) -> list[Problem]:
    """Return what is wrong with a fleet as a whole."""
    return [problem for check in FLEET_CHECKS for problem in check(fleet)]


def _region_count(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    regions = fleet.model.spec.regions
    if len(regions) >= REGIONS_MIN:
        return
    witnesses = sum(region.witness for region in regions)
    if len(regions) == REGIONS_MIN - 1 and not witnesses:
        yield fleet.problem(
            "two-regions-no-witness",
            "spec",
            "regions",
            key=True,
            what="the fleet has two regions and no witness",
            why="when they lose sight of each other neither can tell whether the other is dead: one alone is no"
            " majority of two, so nothing could ever fail over safely",
            fix="add a third region; with witness: true it runs a quorum member and an agent, no workloads",
        )
        return
    yield fleet.problem(
        "too-few-regions",
        "spec",
        "regions",
        key=True,
        what=f"the fleet has {len(regions)} region{'s' if len(regions) > 1 else ''}, and needs {REGIONS_MIN}",
        why="the regions that remain must be a majority, or the loss of one cannot be agreed on",
        fix="add regions until there are three; one of them may be a witness",
    )


def _data_regions(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    regions = fleet.model.spec.regions
    workable = [region.name for region in regions if not region.witness]
    if len(regions) >= REGIONS_MIN and len(workable) < 2:
        yield fleet.problem(
            "too-many-witnesses",
            "spec",
            "regions",
            key=True,
            what=f"only {len(workable)} of {len(regions)} regions can run workloads",
            why="a witness has no data, so there is nowhere to fail over to",
            fix="remove witness: true from all but one region",
        )


def _duplicate_regions(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    places: list[tuple[str, Place]] = [
        (region.name, ("spec", "regions", index, "name")) for index, region in enumerate(fleet.model.spec.regions)
    ]
    yield from _duplicates(fleet, "regions", places)


def _duplicate_clusters(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    places: list[tuple[str, Place]] = [
        (cluster.name, ("spec", "regions", i, "clusters", j, "name"))
        for i, region in enumerate(fleet.model.spec.regions)
        for j, cluster in enumerate(region.clusters)
    ]
    yield from _duplicates(fleet, "clusters", places)


def _duplicates(fleet: Loaded[Fleet], nouns: str, names: list[tuple[str, Place]]) -> Iterator[Problem]:
    seen: dict[str, Place] = {}
    for name, place in names:
        if name in seen:
            yield fleet.problem(
                "duplicate-name",
                *place,
                what=f"there are two {nouns} called {name}",
                why=f"the other one is in {fleet.document.where(seen[name])}",
                fix="give one of them another name",
            )
        seen.setdefault(name, place)


def _links(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    names = [region.name for region in fleet.model.spec.regions]
    seen: dict[frozenset[str], int] = {}
    for index, link in enumerate(fleet.model.spec.links):
        place = ("spec", "links", index, "between")
        for end, name in enumerate(link.between):
            if name not in names:
                yield fleet.problem(
                    "unknown-region",
                    *place,
                    end,
                    what=f"the fleet has no region {name}",
                    why="a link joins two of the fleet's regions",
                    fix=suggestion(name, names),
                )
        pair = frozenset(link.between)
        if len(pair) == 1:
            yield fleet.problem(
                "bad-link",
                *place,
                what=f"this link joins {link.between[0]} to itself",
                why="a round trip is between two regions",
                fix="name two different regions",
            )
        elif pair in seen:
            where = fleet.document.where(("spec", "links", seen[pair], "between"))
            yield fleet.problem(
                "duplicate-link",
                *place,
                what=f"the link between {' and '.join(link.between)} is given twice",
                why=f"the other one is in {where}, and a link counts in both directions",
                fix="keep one of them",
            )
        seen.setdefault(pair, index)


def _overlapping_ranges(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    seen: list[tuple[str, str]] = []
    for i, region in enumerate(fleet.model.spec.regions):
        for j, cluster in enumerate(region.clusters):
            for key, cidr in (("podCIDR", cluster.pod_cidr), ("serviceCIDR", cluster.service_cidr)):
                if cidr is None:
                    continue
                for other_where, other in seen:
                    mine, theirs = ip_network(cidr), ip_network(other)
                    if mine.version == theirs.version and mine.overlaps(theirs):
                        yield fleet.problem(
                            "overlapping-cidrs",
                            *("spec", "regions", i, "clusters", j, key),
                            what=f"{cidr} overlaps {other}",
                            why=f"that is in {other_where}; joined networks cannot route an address two have",
                            fix="give every cluster ranges of its own",
                        )
                seen.append((fleet.document.where(("spec", "regions", i, "clusters", j, key)), cidr))


FLEET_CHECKS: tuple[Callable[[Loaded[Fleet]], Iterator[Problem]], ...] = (
    _region_count,
    _data_regions,
    _duplicate_regions,
    _duplicate_clusters,
    _links,
    _overlapping_ranges,
)
