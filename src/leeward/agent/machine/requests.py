"""Answer operators' requests: a proposal, or a refusal with its reason. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from leeward.agent.machine.events import (
    FailoverRequested,
    ModeRequested,
    PauseRequested,
    Request,
    SwitchoverRequested,
)
from leeward.core import election, failover, recovery, switchover, timers
from leeward.core.actions import Note, Propose
from leeward.core.values import Phase, Region, ReplicationMode, Topology
from leeward.core.view import View


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that needs no proposal: refused, nothing to do, or for another agent to decide."""

    accepted: bool
    because: str
    ask_instead: Region | None = None


def answer(view: View, request: Request) -> Propose | Answer:
    """Return what a request leads to, as of now."""
    topology = view.topology
    if topology is None:
        return Answer(False, f"{view.app.name} has not been founded yet")
    because = recovery.doubt(view)
    if because is not None:
        return Answer(False, f"{because}; an election follows")
    match request:
        case SwitchoverRequested():
            return _switchover(view, topology, request)
        case FailoverRequested():
            return _failover(view, topology, request)
        case ModeRequested(mode=mode):
            return _mode(view, topology, mode)
        case PauseRequested(paused=paused):
            return _pause(view, topology, paused)
        case _:
            assert_never(request)


def _switchover(view: View, topology: Topology, request: SwitchoverRequested) -> Propose | Answer:
    if topology.primary not in (None, view.me):
        return Answer(False, f"{topology.primary} is the primary and decides", ask_instead=topology.primary)
    refused = switchover.preflight(view, topology, request.to)
    if refused is not None:
        return Answer(False, refused)
    if request.dry_run:
        return Answer(True, f"{request.to} could take over from {topology.primary} now")
    return switchover.start(view, topology, request.to, request.request)


def _failover(view: View, topology: Topology, request: FailoverRequested) -> Propose | Answer:
    if request.to not in topology.data_regions:
        return Answer(False, f"{request.to} has no replica of {topology.app}")
    if topology.primary == request.to:
        return Answer(False, f"{request.to} is already the primary")
    refused = election.unfit(view, topology, request.to)
    if refused is not None:
        return Answer(False, refused)
    because = f"an operator requested a failover from {topology.primary or topology.deposed} to {request.to}"
    if request.dry_run:
        return Answer(True, f"would depose {topology.primary or topology.deposed} and elect {request.to}")
    if topology.phase is Phase.ELECTING:
        wanted = replace(topology, target=request.to, request=request.request, because=because)
        return Propose(wanted, view.topology_revision, (Note("FailoverRequested", because),))
    return failover.depose(
        view, topology, because=because, lease_over=False, request=request.request, target=request.to
    )


def _mode(view: View, topology: Topology, mode: ReplicationMode) -> Propose | Answer:
    if topology.phase is not Phase.STEADY:
        return Answer(False, f"{topology.app} is {topology.phase}: {topology.because}")
    if topology.mode is mode and topology.requested_mode is None:
        return Answer(True, f"{topology.app} already replicates as {mode}")
    if topology.mode is mode:
        changed = replace(topology, requested_mode=None)
    else:
        refused = _too_patient(view) if mode is ReplicationMode.ASYNC else None
        if refused is not None:
            return Answer(False, refused)
        changed = replace(topology, requested_mode=mode)
    because = f"an operator asked for {mode} replication"
    return Propose(changed, view.topology_revision, (Note("ModeRequested", because),))


def _too_patient(view: View) -> str | None:
    """Return why the application must not become asynchronous with the lease that its files bought; None if it may."""
    app = view.app
    longest_s = min(app.rpo_s, timers.lease_max_s(app.rpo_s, view.timers.rtt_max_s))
    if app.lease_s <= longest_s:
        return None
    return (
        f"in async a primary that is cut off could lose the {app.lease_s:.1f} s of its lease, and with an RPO of "
        f"{app.rpo_s:g} s that may be {longest_s:g} s: set database.replication to async in the files and apply them"
    )


def _pause(view: View, topology: Topology, paused: bool) -> Propose | Answer:
    if topology.paused is paused:
        return Answer(True, f"automatic failover of {topology.app} is already {'paused' if paused else 'on'}")
    because = f"an operator {'paused' if paused else 'resumed'} automatic failover"
    kind = "FailoverPaused" if paused else "FailoverResumed"
    return Propose(replace(topology, paused=paused), view.topology_revision, (Note(kind, because),))
