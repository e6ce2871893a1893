"""Incidents worth knowing by name, as plans: famous ones, feared ones, and those the simulator found."""

import itertools
from dataclasses import dataclass, replace

from leeward.core.values import Region, ReplicationMode
from leeward.sim import checkers
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import Fleet, three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.story import sentences
from leeward.sim.swarm import live_through

US, EU, AP = Region("us"), Region("eu"), Region("ap")
BEGINS_S = FOUND_S + 2.0
AFTER_S = 20.0


@dataclass(frozen=True, slots=True)
class Incident:
    """A plan with a name, and what it is about."""

    name: str
    about: str
    fleet: Fleet
    faults: tuple[Fault, ...]

    def plan(self) -> Plan:
        """Return the run: nothing is left to chance but what processes take."""
        last_s = max(fault.at_s + fault.for_s for fault in self.faults)
        injection_s = last_s - FOUND_S + AFTER_S
        return Plan(1, self.fleet, self.faults, (), injection_s, jitter=0.0, write_every_s=0.2)


def story_of(incident: Incident) -> str:
    """Return the incident's story and what it cost, as text. The same every time."""
    lines = list[str]()
    seen = live_through(incident.plan(), trace=lines.append)
    simulation, app = seen.simulation, incident.fleet.app
    times_s = [BEGINS_S, *sorted(f.committed_at_s for f in simulation.acknowledgements if f.committed_at_s > BEGINS_S)]
    gap_s = max((later - earlier for earlier, later in itertools.pairwise(times_s)), default=0.0)
    primary = checkers.topology(simulation.sites, app).primary
    lost = checkers.lost(simulation.sites, app, primary, simulation.ledger) if primary is not None else []
    orphans = sum(len(keys) for site in simulation.sites.values() for _, keys in _orphans(site.instances.get(app)))
    shown = (line for line in sentences(lines) if float(line.split(" s ")[0]) >= BEGINS_S - 1)
    return "\n".join(
        [
            f"# {incident.about}",
            "",
            *(f"{float(line.split(' s ', 1)[0]):6.1f} s {line.split(' s ', 1)[1]}" for line in shown),
            "",
            f"{'broken promise: ' + seen.outcome.violation if seen.outcome.violation else 'every promise was kept'}",
            f"longest time without an acknowledged write: {gap_s:.1f} s",
            (
                f"acknowledged {len(simulation.ledger.acknowledged)}, lost {len(lost)}, orphans saved {orphans}, "
                f"primary {primary} in epoch {checkers.epoch(simulation.sites, app)}"
            ),
            "",
        ]
    )


def _orphans(instance: object) -> list[tuple[int, list[str]]]:
    return getattr(instance, "orphans", [])


_TWO = Fleet(
    regions=(US, EU),
    witnesses=frozenset(),
    rtt_s={frozenset((US, EU)): 0.08},
    app=three(ReplicationMode.SYNC).app,
    mode=ReplicationMode.SYNC,
    rto_s=5.0,
    rpo_s=5.0,
)

_BESIDE_A_WITNESS = replace(three(ReplicationMode.ASYNC), witnesses=frozenset((AP,)))

INCIDENTS = (
    Incident(
        "github-2018",
        "A 43 s partition between two coasts, then healed, with asynchronous replication (GitHub, October 2018).",
        three(ReplicationMode.ASYNC),
        (Fault(BEGINS_S, Kind.ISOLATION, US, None, 43.0),),
    ),
    Incident(
        "freeze-of-8-seconds",
        "The primary's machine stands still for 8 s and then goes on as if nothing had happened.",
        three(ReplicationMode.SYNC),
        (Fault(BEGINS_S, Kind.MACHINE_PAUSE, US, None, 8.0),),
    ),
    Incident(
        "freeze-of-30-seconds",
        "The primary's processes stand still for 30 s, with asynchronous replication.",
        three(ReplicationMode.ASYNC),
        (Fault(BEGINS_S, Kind.REGION_FREEZE, US, None, 30.0),),
    ),
    Incident(
        "loss-with-the-quorum-leader",
        "The region of the primary is lost together with the quorum store's leader.",
        three(ReplicationMode.QUORUM),
        (Fault(BEGINS_S - 0.1, Kind.LEADER_MOVE, US), Fault(BEGINS_S, Kind.REGION_LOSS, US, None, 20.0)),
    ),
    Incident(
        "slow-region",
        "The primary's region is not dead but slow: every link of it takes half a second more, for a minute.",
        three(ReplicationMode.SYNC),
        (Fault(BEGINS_S, Kind.SLOW_LINK, US, None, 60.0, 0.5),),
    ),
    Incident(
        "return-with-unreplicated-writes",
        "A primary is cut off while its own users go on writing, and comes back with writes that no other region has.",
        replace(three(ReplicationMode.ASYNC), rpo_s=1.0),
        (Fault(BEGINS_S, Kind.SLOW_LINK, US, None, 12.0, 0.6), Fault(BEGINS_S + 4, Kind.ISOLATION, US, None, 12.0)),
    ),
    Incident(
        "two-regions-no-witness",
        "Two regions without a witness: the standby's region is lost, which looks like a partition.",
        _TWO,
        (Fault(BEGINS_S, Kind.REGION_LOSS, EU, None, 20.0),),
    ),
    Incident(
        "old-primary-is-no-heir",
        "Shown in the simulator: a region returns with writes of its own just as the next primary is lost.",
        three(ReplicationMode.SYNC),
        (Fault(BEGINS_S, Kind.ISOLATION, US, None, 14.0), Fault(BEGINS_S + 13, Kind.REGION_LOSS, EU, None, 10.0)),
    ),
    Incident(
        "no-pods-beside-the-primary",
        "Every pod of the service in the primary's region crashes (a bad image), while its database is well.",
        three(ReplicationMode.SYNC),
        (Fault(BEGINS_S, Kind.SERVICE_LOSS, US, None, 30.0),),
    ),
    Incident(
        "partition-beside-a-witness",
        "Found by the simulator: the two regions with data lose sight of one another, the witness sees both.",
        _BESIDE_A_WITNESS,
        (Fault(BEGINS_S, Kind.PARTITION, US, EU, 20.0),),
    ),
)
