"""What an operator sees: the applications that its certificate names, and everything of the fleet itself. Pure.

The regions' agents and Prometheus, whose certificates name no operator, see all.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from leeward.core.certificates import Certificate
from leeward.core.identities import grants, operator_uri
from leeward.core.values import App, Record

BY_APPLICATION = (
    "topologies",
    "objectives",
    "because",
    "pods_ready",
    "instances",
    "lags_s",
    "conditions",
    "last_failovers",
    "tallies",
    "drills",
    "deep",
    "names",
)
"""The parts of an agent's status whose keys are applications."""
INSTANCE = "instance-"
"""How the certificate of an application's instance managers is called: the rest is the application."""
AUTHORITY = "authority"
"""``instance-authority`` is that of their authority."""


def visible(fleet: str, names: Collection[str]) -> frozenset[App] | None:
    """Return the applications that the URIs of a client's certificate let it see; None: every one.

    Each right includes it. An operator's URI that cannot be read lets see nothing.
    """
    if not any(name.startswith(operator_uri(fleet)) for name in names):
        return None
    allowed = grants(fleet, names)
    if any(grant.app is None for grant in allowed):
        return None
    return frozenset(App(grant.app) for grant in allowed if grant.app is not None)


def status_of(status: Mapping[str, Any], apps: frozenset[App] | None) -> dict[str, Any]:
    """Return an agent's status with these applications only."""
    if apps is None:
        return dict(status)
    return {
        **status,
        **{part: _only(status[part], apps) for part in BY_APPLICATION if status[part] is not None},
        "heartbeats": {
            region: {**heartbeat, "apps": _only(heartbeat["apps"], apps)}
            for region, heartbeat in status["heartbeats"].items()
        },
    }


def records_of(records: Iterable[tuple[int, Record]], apps: frozenset[App] | None) -> list[tuple[int, Record]]:
    """Return the decisions about these applications, and about none."""
    return [(revision, each) for revision, each in records if apps is None or each.app is None or each.app in apps]


def shows(labels: Mapping[str, str], apps: frozenset[App] | None) -> bool:
    """Whether a metric's sample is about one of these applications, or about none."""
    if apps is None:
        return True
    of = (labels.get("certificate", ""), labels.get("server", ""))
    return labels.get("application") in (None, *apps) and all(_shown(name, apps) for name in of)


def certificates_of(found: Iterable[Certificate], apps: frozenset[App] | None) -> tuple[Certificate, ...]:
    """Return the certificates of these applications' instance managers, and all others."""
    return tuple(each for each in found if apps is None or _shown(each.name, apps))


def _shown(certificate: str, apps: frozenset[App]) -> bool:
    app = certificate.removeprefix(INSTANCE)
    return app in (certificate, AUTHORITY, *apps)


def _only(keyed: Mapping[str, Any], apps: frozenset[App]) -> dict[str, Any]:
    return {app: value for app, value in keyed.items() if app in apps}
