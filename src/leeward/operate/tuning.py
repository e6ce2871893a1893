"""What agents measured: needless failovers, silences, and the RTO that would tolerate them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.core.codec import from_plain
from leeward.core.delays import Delays, Proposal, longest_watched, propose
from leeward.core.values import Region, Tally
from leeward.operate.agents import Answer, newest
from leeward.operate.outcome import OperationError
from leeward.operate.problems import no_agent_answers, no_such_application
from leeward.spec.application import Application
from leeward.spec.spec import Spec, is_synchronous


@dataclass(frozen=True, slots=True)
class ApplicationTuning:
    """What was counted of one application, and the RTO that would tolerate what was measured."""

    name: str
    primary: str
    """The region whose silences count."""
    failover: str
    rto_s: float
    lease_s: float
    waits_s: float
    """How long after the last heartbeat a takeover begins."""
    tally: Tally
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class RegionSilences:
    """How long a region was silent, and how often, as the agent says that watched it longest."""

    name: str
    observed_s: float
    counts: tuple[int, ...] | None
    """Per bucket of ``core.delays.BOUNDS_S``; None: never watched."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything measured, and what would help."""

    applications: tuple[ApplicationTuning, ...]
    regions: tuple[RegionSilences, ...]


def tuning(spec: Spec, answers: list[Answer], app: str | None) -> Tuning:
    """Return what is known and proposed. Raises OperationError: no agent answers, or the application is unknown."""
    best = newest(answers)
    if best is None:
        raise OperationError(no_agent_answers())
    names = [each.metadata.name for each in spec.applications]
    if app is not None and app not in names:
        raise OperationError(no_such_application(app, names))
    delays = [from_plain(Delays, each.body["delays"]) for each in answers if each.status == 200]
    return Tuning(
        tuple(
            _application(spec, each, delays, best.body)
            for each in spec.applications
            if app in (None, each.metadata.name)
        ),
        tuple(_region(region.name, delays) for region in spec.regions),
    )


def _application(
    spec: Spec, application: Application, delays: list[Delays], body: Mapping[str, Any]
) -> ApplicationTuning:
    name, wanted = application.metadata.name, application.spec
    topology = body["topologies"].get(name, {})
    primary = topology.get("primary") or spec.placement(application)[0]
    raw, patience = body["tallies"].get(name), spec.patience(application)
    proposal = propose(
        longest_watched(delays, Region(primary)),
        wanted.objectives.rto_s,
        spec.rtt_max_s,
        patience.takeover_s,
        synchronous=is_synchronous(application),
        dns_ttl_s=wanted.traffic.dns_ttl_s or 0.0,
    )
    return ApplicationTuning(
        name=name,
        primary=primary,
        failover=str(wanted.failover),
        rto_s=wanted.objectives.rto_s,
        lease_s=patience.lease_s,
        waits_s=patience.takeover_s,
        tally=Tally() if raw is None else from_plain(Tally, raw),
        proposal=proposal,
    )


def _region(name: str, delays: list[Delays]) -> RegionSilences:
    found = longest_watched(delays, Region(name))
    if found is None:
        return RegionSilences(name, 0.0, None)
    return RegionSilences(name, found.observed_s, tuple(found.counts))
