"""Choose who becomes primary, from what the replicas promised.

In the synchronous modes an acknowledged write is on the primary and on W standbys: on W + 1 of the D
data regions. P promises therefore reach every such write when P + W + 1 > D (R + W > N with
N = D - 1), and then the most advanced promise holds them all: promises are ordered
by the last epoch in the WAL, then by timeline, then by LSN, much as Raft orders logs (decision 15 has the proof and
where the analogy ends). The same rule holds across epochs, because a new primary acknowledges nothing before the
record of its own epoch is acknowledged.

One promise suffices where it is the deposed primary's own, with the record of the epoch it was deposed in: it holds
every write that it acknowledged, and every one of before.

In async the most advanced replica wins, and the loss is estimated from the primaries' progress (``progress``). A loss
beyond the RPO waits: for a replica that holds more, as the deposed primary's own does when it comes back, or for an
operator who names the replica. A loss within the RPO waits for neither: that is what the RPO bought.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from leeward.base.units import lsn_text
from leeward.core import progress
from leeward.core.routing import has_pods
from leeward.core.values import Promise, Region, ReplicationMode, Topology, WalPosition
from leeward.core.view import View

NOTHING = WalPosition(-1, -1)


@dataclass(frozen=True, slots=True)
class Choice:
    """The elected region, or None with the reason to wait."""

    elected: Region | None
    because: str
    retry_at_s: float | None = None


def choose(view: View, topology: Topology) -> Choice:
    """Return who should be promoted under the topology's epoch, as of now."""
    data_regions = topology.data_regions
    promises = _comparable({region: promise for region, promise in view.promises.items() if region in data_regions})
    missing = [region for region in data_regions if region not in promises]
    awaited = _await_promises(view, topology, promises, missing)
    if awaited is not None:
        return awaited
    if not promises:
        return Choice(None, "no replica has promised yet")
    most = max(promise.wal for promise in promises.values())
    fit = [promise for promise in promises.values() if promise.healthy and view.alive(promise.region)]
    if not fit:
        return Choice(None, "no replica that promised is healthy and sends heartbeats")
    best = max(fit, key=lambda promise: (promise.wal, _preference(view, topology, promise.region)))
    if topology.mode is not ReplicationMode.ASYNC and best.wal < most:
        ahead = ", ".join(sorted(p.region for p in promises.values() if p.wal == most))
        return Choice(None, f"{ahead} holds more WAL than {best.region} but is not available; waiting for it")
    wanted = next((p for p in fit if p.region == topology.target), None)
    if topology.mode is ReplicationMode.ASYNC:
        loss_s = estimated_loss_s(view, best)
        # An operator who named a replica accepted its loss, and no replica but that one and better ones.
        if loss_s > view.app.rpo_s and wanted is None and not _nothing_better(view, topology, most, best):
            return Choice(
                None,
                f"{best.region} is the best candidate and would lose {seconds_text(loss_s)} of writes; the RPO is "
                f"{view.app.rpo_s:g} s. Wait for a better replica, or accept it: leeward failover {view.app.name} "
                f"--to {best.region}",
            )
    if wanted is not None:
        return _choose_wanted(view, topology, wanted, best, most)
    why = _why_best(promises, best)
    return Choice(best.region, f"{best.region} is elected: {why}{_lost_with(view, topology, best)}")


def _await_promises(
    view: View, topology: Topology, promises: Mapping[Region, Promise], missing: Sequence[Region]
) -> Choice | None:
    """Return for which promises the election waits; None: those already received suffice.

    In async it waits a while for each replica that is heard from; in the other modes until every acknowledged write is
    in at least one promise.
    """
    if topology.mode is ReplicationMode.ASYNC:
        expected = [region for region in missing if region != topology.deposed and view.alive(region)]
        give_up_at_s = view.topology_seen_at_s + view.timers.promise_wait_s
        if expected and view.now_s < give_up_at_s:
            return Choice(None, f"waiting for {', '.join(expected)} to promise", give_up_at_s)
        return None
    count, acks = len(topology.data_regions), topology.acks_required
    enough = len(promises) + acks + 1 > count
    if enough or _holds_all(promises, topology) or _all_there_is(view, topology, missing):
        return None
    return Choice(
        None,
        f"only {len(promises)} of {count} replicas answered ({', '.join(missing)} did not); an acknowledged write may "
        f"be missing from these: {count - acks} are needed ({topology.mode}, {acks} acknowledgement(s) per write)",
    )


def _choose_wanted(view: View, topology: Topology, wanted: Promise, best: Promise, most: WalPosition) -> Choice:
    """Choose the replica that an operator named, unless it would lose more than it may; then the best one."""
    behind_s = estimated_loss_s(view, wanted)
    bearable = topology.mode is ReplicationMode.ASYNC and behind_s <= view.app.rpo_s
    if wanted.wal == most or bearable:
        behind = f" ({seconds_text(behind_s)} behind)" if topology.mode is ReplicationMode.ASYNC else ""
        return Choice(wanted.region, f"{wanted.region} is elected: an operator chose it{behind}")
    return Choice(best.region, f"{best.region} is elected: it holds more WAL than {wanted.region}, which was requested")


def _why_best(promises: Mapping[Region, Promise], best: Promise) -> str:
    others = [promise.region for promise in promises.values() if promise.region != best.region]
    if not others:
        return "it is the only replica left"
    if all(promises[region].wal < best.wal for region in others):
        return f"its WAL is the most advanced (LSN {lsn_text(best.wal.lsn)}), ahead of {', '.join(sorted(others))}"
    return f"its WAL is the most advanced (LSN {lsn_text(best.wal.lsn)}); tie broken by placement order"


def _lost_with(view: View, topology: Topology, elected: Promise) -> str:
    """Return what is lost in async by electing this promise, as far as the record shows: the only evidence of it
    when the old primary's disk is lost, too."""
    loss_s = estimated_loss_s(view, elected) if topology.mode is ReplicationMode.ASYNC else 0.0
    return f"; {seconds_text(loss_s)} of writes are lost" if 0 < loss_s < math.inf else ""


def _holds_all(promises: Mapping[Region, Promise], topology: Topology) -> bool:
    """Whether the deposed primary promised, with the record of the epoch that it was primary under.

    Whatever was acknowledged under that epoch it acknowledged itself, and it was elected with all of it from before.
    """
    deposed = promises.get(topology.deposed) if topology.deposed is not None else None
    return deposed is not None and topology.deposed_epoch > 0 and deposed.wal.epoch == topology.deposed_epoch


def _all_there_is(view: View, topology: Topology, missing: Sequence[Region]) -> bool:
    """Whether the store went back, and every region without a promise says under this epoch that it holds no data.

    Which data regions were in force is not known then, and one that was only about to join has nothing to promise.
    No wait brings a write back that no region holds: it was on more volumes, all of them lost, than the mode allows.
    """
    reports = {region: view.report(region) for region in missing if view.alive(region)}
    return topology.recovering and all(
        (report := reports.get(region)) is not None
        and report.answers
        and report.epoch == topology.epoch
        and report.wal is None
        and not report.has_data
        for region in missing
    )


def _comparable(promises: Mapping[Region, Promise]) -> Mapping[Region, Promise]:
    """Return the promises without timelines where one of them has none: an older instance manager does not name it."""
    if all(promise.wal.timeline for promise in promises.values()):
        return promises
    return {region: replace(each, wal=replace(each.wal, timeline=0)) for region, each in promises.items()}


def unfit(view: View, topology: Topology, region: Region) -> str | None:
    """Return why this replica must not be elected now, though an operator wants it; None when it may be.

    In async what it lacks may be lost, as long as no other replica would lose less than the RPO; in the other modes it
    must hold all that any replica has. It need not be healthy: cut off from a broken primary, none can stream.
    """
    report = view.report(region)
    if not view.alive(region):
        return f"no heartbeat from {region} for longer than a lease"
    if report is None or report.wal is None:
        return f"the replica in {region} does not report its WAL position"
    others = [r for r in topology.data_regions if r not in (region, topology.primary) and view.alive(r)]
    if topology.mode is ReplicationMode.ASYNC:
        loss_s = reported_loss_s(view, region)
        better = [(r, reported_loss_s(view, r)) for r in others]
        spared = [f"{r} {seconds_text(s)}" for r, s in better if s <= view.app.rpo_s]
        if loss_s > view.app.rpo_s and spared:
            return (
                f"{region} would lose {seconds_text(loss_s)} of writes, the RPO is {view.app.rpo_s:g} s, and "
                f"{', '.join(spared)}: choose that one"
            )
        return None
    held = _held(view, topology)
    ahead = [r for r in others if held.get(r, NOTHING) > held.get(region, NOTHING)]
    if ahead:
        return (
            f"{ahead[0]} holds more WAL than {region}: an acknowledged write may be missing there. Choose {ahead[0]}, "
            f"and switch over to {region} afterwards"
        )
    return None


def _held(view: View, topology: Topology) -> dict[Region, WalPosition]:
    """Return what each standby holds: at one moment, by the primary's report, or without it by each standby's own."""
    primary = view.report(topology.primary) if topology.primary is not None else None
    if (
        primary is not None
        and primary.wal is not None
        and topology.primary is not None
        and view.alive(topology.primary)
    ):
        ours = primary.wal
        return {s.region: replace(ours, lsn=s.flushed_lsn) for s in primary.senders if s.streaming}
    reports = ((region, view.report(region)) for region in topology.data_regions if view.alive(region))
    return {region: report.wal for region, report in reports if report is not None and report.wal is not None}


def reported_loss_s(view: View, region: Region) -> float:
    """Return by how many seconds a replica's latest report is behind the primary's; infinity without a report."""
    report = view.report(region)
    if report is None or report.wal is None:
        return math.inf
    return estimated_loss_s(view, Promise(region, view.app.name, 0, report.wal))


def heir(view: View, topology: Topology) -> Region | None:
    """Return the replica that would win an election now: the one that reported the most, the preferred one of equals.

    Once the primary has been silent for a heartbeat or two, reports no longer change, so this is exact.
    """
    fit = [region for region in topology.data_regions if region != topology.primary and view.alive(region)]

    def advance(region: Region) -> tuple[WalPosition, bool, int]:
        report = view.report(region)
        wal = view.instance.wal if region == view.me and view.instance is not None else report.wal if report else None
        return (wal or NOTHING, has_pods(view, region), -topology.data_regions.index(region))

    return max(fit, key=advance, default=None)


def estimated_loss_s(view: View, promise: Promise) -> float:
    """Return how many seconds of the primaries' writes the replica lacks; infinity where the record has a gap."""
    if view.topology is not None and view.topology.recovering:
        # The record went back with the store.
        return math.inf
    return progress.loss_s(view.progress, promise.wal)


def _nothing_better(view: View, topology: Topology, most: WalPosition, best: Promise) -> bool:
    """Whether waiting is of no use: nothing is on record, every replica with data promised, and none holds more."""
    unrecorded = topology.recovering or not view.progress
    missing = [region for region in topology.data_regions if region not in view.promises]
    return unrecorded and best.wal == most and (not missing or _all_there_is(view, topology, missing))


def seconds_text(loss_s: float) -> str:
    """Return a loss in words."""
    return "more than the recorded history covers" if math.isinf(loss_s) else f"about {loss_s:.1f} s"


def _preference(view: View, topology: Topology, region: Region) -> tuple[bool, bool, int]:
    """Among equals: a region with ready pods, then one that others already stream from, then placement order."""
    return (has_pods(view, region), region == topology.favourite, -topology.data_regions.index(region))
