"""Services exported by the regions' clusters: what a region publishes, and where its gateway routes. Pure.

Always true: requests are routed only to regions that report that they export the service and have a ready pod.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from leeward.core.values import Region
from leeward.ports.cluster import KubeObject
from leeward.ports.gateway import CLUSTER_SET, Address, Exported

SERVICE_NAME_MAX = 63


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What a service is called, alike in every cluster."""

    namespace: str
    name: str

    @property
    def host(self) -> str:
        """Its common name."""
        return f"{self.name}.{self.namespace}.{CLUSTER_SET}"


@dataclass(frozen=True, slots=True)
class Offer:
    """One service that a region exports."""

    service: Name
    ready: bool
    """It has a pod that can answer."""


@dataclass(frozen=True, slots=True)
class Offers:
    """All that a region exports, as it publishes it to the others."""

    services: tuple[Offer, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a status, as Kubernetes has it."""

    kind: str
    holds: bool
    reason: str
    message: str


Own = Mapping[Name, tuple[Address, ...] | None]
"""What this region exports and which pods are ready; None: the Service does not exist."""
Offered = Mapping[Region, Offers]
"""What each region last published."""


def is_of_a_service(name: str) -> bool:
    """Return whether a Service can bear the name. Other names of exports would not be valid as host or file names."""
    return len(name) <= SERVICE_NAME_MAX and "." not in name


def offers(own: Own) -> Offers:
    """Return what to publish to the others."""
    return Offers(tuple(Offer(name, bool(own[name])) for name in sorted(own)))


def routes_for(
    own: Own, offered: Offered, nearest: Collection[Region], fit: Collection[Region]
) -> tuple[Exported, ...]:
    """Return how the gateway is to treat every exported service.

    ``nearest`` are the other regions, in order; ``fit`` those that look healthy. When none of those has it, one that
    was out and is not yet trusted again is better than none.
    """
    abroad = {region: _ready(offered[region]) for region in nearest if region in offered}
    names = {*own, *(offer.service for region in abroad for offer in offered[region].services)}
    return tuple(
        Exported(
            name.name,
            name.namespace,
            own.get(name) or (),
            _trusted(tuple(region for region, ready in abroad.items() if name in ready), fit),
        )
        for name in sorted(names)
    )


def exporters(name: Name, me: Region, own: Own, offered: Offered) -> tuple[Region, ...]:
    """Return the regions that export a service, by name, whether or not a pod is ready there."""
    others = {region for region, its in offered.items() if any(offer.service == name for offer in its.services)}
    return tuple(sorted((others - {me}) | ({me} if name in own else set())))


def of_export(name: Name, own: Own) -> tuple[Condition, ...]:
    """Return what a ServiceExport's status should show."""
    pods = own[name]
    if pods is None:
        message = f"no Service {name.name} with endpoints in {name.namespace}"
        return (Condition("Valid", False, "NoService", message), Condition("Ready", False, "Pending", message))
    message = f"gateways of every region route {name.host} here: {len(pods)} pods ready"
    return (Condition("Valid", True, "Valid", f"{name.host}"), Condition("Ready", True, "Exported", message))


def of_import(name: Name, regions: Collection[Region]) -> Condition:
    """Return what a ServiceImport's status should show, with those regions exporting it."""
    if not regions:
        return Condition("Ready", False, "Pending", f"no region exports {name.host}")
    return Condition("Ready", True, "Ready", f"the gateway here routes {name.host} to {', '.join(regions)}")


def status(item: KubeObject, conditions: Collection[Condition], at: str) -> list[dict[str, object]] | None:
    """Return all of an object's conditions with these among them; None when they are there already.

    Conditions of other controllers stay, also one of the same type if its status is the same.
    """
    present = {each["type"]: each for each in item.get("status", {}).get("conditions") or ()}
    changed = [each for each in conditions if not _reported(present.get(each.kind), each)]
    if not changed:
        return None
    for each in changed:
        before = present.get(each.kind, {})
        word = "True" if each.holds else "False"
        present[each.kind] = {
            "type": each.kind,
            "status": word,
            "reason": each.reason,
            "message": each.message,
            "observedGeneration": item["metadata"].get("generation", 0),
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == word else at,
        }
    return [present[kind] for kind in sorted(present)]


def _trusted(regions: tuple[Region, ...], fit: Collection[Region]) -> tuple[Region, ...]:
    return tuple(region for region in regions if region in fit) or regions


def _ready(offers: Offers) -> frozenset[Name]:
    return frozenset(offer.service for offer in offers.services if offer.ready)


def _reported(present: dict[str, object] | None, wanted: Condition) -> bool:
    if present is None:
        return False
    same = present.get("status") == ("True" if wanted.holds else "False")
    # Another controller of the same API has reasons of its own.
    return same and (present.get("reason") != wanted.reason or present.get("message") == wanted.message)
