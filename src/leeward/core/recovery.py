"""Decide what follows when the quorum store went back: restored from a backup, rolled back, or lost.

A store that went back names a primary and an epoch of the past. What happened since is known to the instances: each
keeps the highest epoch it accepted on its disk, and the record of the last epoch is in its WAL. So the store is never
believed against them. First the store's *generation* is replaced. Every heartbeat and proposal compares it, so from
then on nothing commits that was decided on the history that is gone, and no lease is given under it. Then every
application is opened again by an election: promises say who holds what, nothing in the store does.

Always true: an epoch that is opened is above every epoch that any instance reported and any replica promised, and a
recovery leaves room for those that no answering region has seen. While a topology is in doubt, no lease is given and
no order follows from it.
Not here: how an agent notices that the history was replaced (``agent.machine.generations``), the wait for leases of
unknown holders (``failover.old_primary_stopped``).
"""

from collections.abc import Iterator

from leeward.core import data_regions
from leeward.core.actions import Decision, Note, Propose, RenewGeneration
from leeward.core.values import InstanceReport, Phase, Region, ReplicationMode, Topology
from leeward.core.view import View

# Epochs that were opened after the backup, and that no instance which answers has seen, must not be opened twice.
RECOVERY_EPOCHS = 1000
# A store may be lost again before a region that knows of the first recovery is heard. The later history opens the
# higher epochs, by the second of its beginning: otherwise the region's instance would take its orders for late ones, or
# its writes would win an election over later ones.
SINCE_UNIX_S = 1_767_225_600
"""2026 began then."""
# How long an application waits, in leases, for the instances of its other regions before it is founded without them.
FOUNDING_WAIT_LEASES = 5


def recover(view: View) -> Decision | None:
    """Return what to do about a store that went back; None without evidence that it did."""
    because = doubt(view)
    if because is None:
        return None
    topology = view.topology
    if view.unreadable is not None:
        return Decision(because)
    if topology is None and 0 < view.removed_epoch >= _lived(view)[0]:
        return Decision(because, (reopen(view, because, kind="ApplicationReopened"),))
    renewed = bool(view.generation) if topology is None else topology.generation != view.generation
    if not renewed:
        return Decision(because, (RenewGeneration(because),))
    return Decision(because, (reopen(view, because),))


def doubt(view: View) -> str | None:
    """Return why the topology in the store is not the latest; None without evidence of that."""
    topology = view.topology
    if view.unreadable is not None:
        return f"a newer agent wrote the topology, and this one cannot read it ({view.unreadable}): upgrade this region"
    if topology is None:
        epoch, region = _lived(view)
        if epoch == 0:
            holder = _holder(view)
            # Its epoch was lost with its state file, and is in its WAL: once it has started it says so.
            return (
                None if holder is None else f"{holder} has data of {view.app.name}, but the store has no record of it"
            )
        if epoch <= view.removed_epoch:
            return (
                f"{view.app.name} was removed at epoch {view.removed_epoch} and is named again; {region} has its data"
            )
        return f"{region} has accepted epoch {epoch} of {view.app.name}, but the store has no record of it"
    if topology.generation != view.generation:
        replaced = f"the topology of {topology.app} belongs to a replaced history of the store"
        # Another application may be why: every one of them is elected again.
        return f"{replaced} ({view.generation_because})" if view.generation_because else replaced
    accepted, region = _lived(view)
    if accepted > topology.epoch:
        return (
            f"{region} has accepted epoch {accepted} of {topology.app}, but the store is at epoch {topology.epoch}: "
            "it went back"
        )
    if topology.phase is Phase.ELECTING:
        # Its record is written by whoever was elected, and heartbeats are newer than the topology they come after.
        for region, report in _reports(view):
            if report.wal is not None and report.wal.epoch >= topology.epoch:
                return (
                    f"{region} holds the record of epoch {topology.epoch} of {topology.app}, which is being elected: "
                    "the store went back"
                )
    return None


def next_epoch(view: View) -> int:
    """Return the epoch to open next: above the store's, and above all that was accepted or promised."""
    stored = view.topology.epoch if view.topology is not None else 0
    promised = max((promise.epoch for promise in view.promises.values()), default=0)
    return max(stored, promised, _lived(view)[0], view.removed_epoch) + 1


def awaited(view: View) -> tuple[Region, ...]:
    """Return the data regions whose instance has not reported yet whether it has accepted an epoch before."""
    known = {region for region, report in _reports(view) if report.answers}
    return tuple(region for region in view.app.data_regions if region not in known and region != view.me)


def reopen(view: View, because: str, *, kind: str = "StoreRestored") -> Propose:
    """Return the proposal that elects by promises, without trust in what the store says about the primary.

    Of the stored and the configured mode the stricter counts, and every data region of the store, of the files, and of
    the orders that instances obey: a change may have been forgotten, and the files may be ahead of it. Of what those
    sets require, writes had the fewest acknowledgements at least, so the election counts on no more. It needs no fence:
    with the generation every region's heartbeats were replaced; and an application that is named again has no primary,
    since every region's agent has started without it meanwhile.
    """
    topology, app = view.topology, view.app
    modes = {app.mode} | ({topology.mode} if topology is not None else set())
    mode = max(modes, key=tuple(ReplicationMode).index)
    stored = data_regions.replicas(topology) if topology is not None else ()
    obeyed = _obeyed(view)
    named = (app.data_regions, view.declared, topology and topology.data_regions, *obeyed)
    sets = [each for each in named if each]
    regions = tuple(dict.fromkeys((*(region for each in sets for region in each), *stored)))
    opened = Topology(
        app=app.name,
        epoch=_first_epoch(view),
        phase=Phase.ELECTING,
        primary=None,
        data_regions=regions,
        mode=mode,
        acks_required=min((*(data_regions.acks_required(mode, len(each)) for each in sets), *obeyed.values())),
        because=because,
        paused=topology.paused if topology is not None else False,
        generation=view.generation,
        recovering=True,
    )
    prepared = f"epoch {opened.epoch} is open; replicas cut from every primary and promise what they hold"
    notes = (Note(kind, because), Note("FailoverPrepared", prepared))
    return Propose(opened, view.topology_revision, notes)


def _first_epoch(view: View) -> int:
    """Return the epoch that opens a history of the store, with room for those that no answering region has seen."""
    epoch = next_epoch(view) + RECOVERY_EPOCHS
    began_s = max(0, int(view.generation_at_unix_s) - SINCE_UNIX_S)
    behind = began_s - epoch // RECOVERY_EPOCHS
    return epoch + RECOVERY_EPOCHS * max(0, behind)


def _obeyed(view: View) -> dict[tuple[Region, ...], int]:
    """Return the sets that instances' orders name, and how many acknowledgements each had at least."""
    reports = [(report.data_regions, report.acks_required) for _, report in _reports(view)]
    own = view.instance.order if view.instance is not None else None
    found: dict[tuple[Region, ...], int] = {}
    for regions, acks in (*reports, (own.data_regions, own.acks_required) if own is not None else ((), 0)):
        if regions:
            found[regions] = min(acks, found.get(regions, acks))
    return found


def _reports(view: View) -> Iterator[tuple[Region, InstanceReport]]:
    """Yield what heartbeats in the store report. Each is newer than every topology that its sender acted on."""
    for region in view.seen:
        report = view.report(region)
        if report is not None:
            yield region, report


def _holder(view: View) -> Region | None:
    """Return a region that the files name and whose instance has data."""
    named = {*view.app.data_regions, *(view.declared or ())}
    if view.instance is not None and view.instance.has_data and view.me in named:
        return view.me
    reports = ((region, report) for region, report in _reports(view) if region in named and view.alive(region))
    return next((region for region, report in reports if report.has_data), None)


def _lived(view: View) -> tuple[int, Region]:
    """Return the highest epoch that any instance has accepted, and the instance's region."""
    return max(_accepted(view), default=(0, view.me))


def _accepted(view: View) -> Iterator[tuple[int, Region]]:
    """Yield the highest epoch that each instance has accepted.

    Its WAL counts only as reported in a heartbeat: a standby may stream the record of an epoch before its own agent
    has read of it.
    """
    if view.instance is not None:
        yield view.instance.epoch, view.me
    for region, report in _reports(view):
        yield max(report.epoch, report.wal.epoch if report.wal is not None else 0), region
