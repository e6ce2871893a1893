"""What must be true in every world, checked at the moment it could break. Each check raises ViolationError."""

from typing import TYPE_CHECKING

from leeward.core.values import Phase, Region, ReplicationMode, Topology
from leeward.sim.explore.server import begun
from leeward.sim.explore.world import Acknowledged
from leeward.sim.violation import ViolationError

if TYPE_CHECKING:
    from leeward.sim.explore.draft import Draft


def acknowledged(draft: "Draft", region: Region, lsn: int) -> None:
    """Check an acknowledgement, and remember it."""
    history = draft.instances[region].server.history
    entry = history[lsn - 1]
    writers = dict(draft.writers)
    if writers.setdefault(entry.epoch, region) != region:
        raise ViolationError(
            f"one writer per epoch: {writers[entry.epoch]} and {region} acknowledge under epoch {entry.epoch}"
        )
    if entry.epoch < max(writers):
        raise ViolationError(
            f"no late acknowledgement: {region} acknowledges under epoch {entry.epoch} after one under {max(writers)}"
        )
    draft.writers = tuple(sorted(writers.items()))
    if not begun(history[:lsn]):
        raise ViolationError(f"the record first: {region} acknowledges what precedes the record of its epoch")
    topology = draft.topology()
    assert topology is not None, "nothing is written before the application is founded"
    strict = topology.mode is not ReplicationMode.ASYNC
    others = (other for other in topology.data_regions if other != region)
    holders = [other for other in others if draft.instances[other].server.history[lsn - 1 : lsn] == (entry,)]
    if strict and len(holders) < topology.acks_required:
        raise ViolationError(
            f"on enough standbys: {region} acknowledges what {len(holders)} standbys hold, and {topology.mode} "
            f"promises {topology.acks_required}"
        )
    draft.acknowledged = (*draft.acknowledged, Acknowledged(entry.epoch, entry.write, strict))


def whole(draft: "Draft", region: Region) -> None:
    """Check that whoever begins to serve has what was promised never to be lost."""
    held = {(entry.epoch, entry.write) for entry in draft.instances[region].server.history}
    lost = [each.write for each in draft.acknowledged if each.strict and (each.epoch, each.write) not in held]
    if lost:
        raise ViolationError(f"no loss: {region} begins to serve without {lost}, which was acknowledged")


def saved(draft: "Draft", region: Region) -> None:
    """Check that acknowledged writes are somewhere, in a history or saved, after a region gave its own history up."""
    known: set[tuple[int, int]] = set()
    for each in draft.instances.values():
        known |= each.server.saved | {(entry.epoch, entry.write) for entry in each.server.history}
    gone = [each.write for each in draft.acknowledged if (each.epoch, each.write) not in known]
    if gone:
        raise ViolationError(f"every lost write is saved: {region} gives up {gone}, which was acknowledged")


def deposed(draft: "Draft", before: Topology, after: Topology) -> None:
    """Check that whoever is deposed or succeeded has stopped."""
    if after.deposed is None or before.phase is after.phase or after.deposed == after.primary:
        return
    over = after.phase is Phase.ELECTING and after.deposed_lease_over
    old = draft.instances[after.deposed].server
    if (over or after.phase is Phase.PROMOTING) and old.accepts and old.epoch < after.epoch:
        raise ViolationError(
            f"deposed only when stopped: {after.deposed} still accepts writes under epoch {old.epoch} while the "
            f"topology becomes {after.phase} under epoch {after.epoch}"
        )
