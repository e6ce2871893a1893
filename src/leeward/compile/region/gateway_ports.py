"""The ports of a region's gateway that lead to databases: each application has its own, by its place in the files.

In Kubernetes these are ports of the gateway's pod only, under names that stay. Whoever calls asks a service that is the
application's own and has always the same ports: so another application in the files changes nothing for it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from leeward.compile.target import EGRESS_PORT_BASE, POSTGRES_PORT, Target
from leeward.spec.application import Application, Engine
from leeward.spec.spec import DATABASES_MAX, Spec

EGRESS_PORTS_EACH = 100
PRIMARY_PORTS = (POSTGRES_PORT, POSTGRES_PORT + DATABASES_MAX - 1)
"""First and last port of a gateway that may lead to a primary."""
EGRESS_PORTS = (EGRESS_PORT_BASE + 1, EGRESS_PORT_BASE + DATABASES_MAX * EGRESS_PORTS_EACH - 1)
"""First and last port of a gateway that may lead to a given region's database."""


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """The ports that lead to one application's PostgreSQL."""

    primary: int
    egress: Mapping[str, int]
    """To the one in each region that has one."""

    def named(self, application: Application) -> dict[str, int]:
        """Return them under the names that the gateway's pod has for them: fifteen characters at most, and unique."""
        digest = hashlib.sha256(application.metadata.name.encode()).hexdigest()[:8]
        ways = {f"to{port % EGRESS_PORTS_EACH}-{digest}": port for port in self.egress.values()}
        return {f"pg-{digest}": self.primary, **ways}


def has_gateway_ports(application: Application) -> bool:
    """Return whether gateways lead to an application's database."""
    return application.spec.database.engine is Engine.POSTGRES


def place_of(spec: Spec, application: Application) -> int:
    """Return the place of an application among those whose databases gateways lead to, from 0. Raises ValueError."""
    return [each.metadata.name for each in spec.applications if has_gateway_ports(each)].index(
        application.metadata.name
    )


def gateway_ports(spec: Spec, application: Application) -> GatewayPorts | None:
    """Return the ports where gateways listen for an application's database; None where they do not."""
    return _ports_at(spec, application, place_of(spec, application)) if has_gateway_ports(application) else None


def called(spec: Spec, application: Application, target: Target) -> GatewayPorts | None:
    """Return the ports that the region's own pods ask for: those of the gateway, or of the service before it."""
    return gateway_ports(spec, application) if target.pods else _ports_at(spec, application, 0)


def _ports_at(spec: Spec, application: Application, place: int) -> GatewayPorts | None:
    if not has_gateway_ports(application):
        return None
    base, placed = EGRESS_PORT_BASE + place * EGRESS_PORTS_EACH, spec.placement(application)
    egress = {region.name: base + index for index, region in enumerate(spec.regions, start=1) if region.name in placed}
    return GatewayPorts(POSTGRES_PORT + place, egress)
