"""What is always true of an application's topology, and of every step from one to the next. Pure.

Each function names one truth and yields every way in which a step breaks it. The shipped agent proposes no step that
breaks one (``agent.machine.proposals``), and the simulator holds every topology that is committed against all of them.
Not here: what must be true of instances and of acknowledged writes, which one agent cannot see (``sim.checkers``).
"""

from collections.abc import Callable, Iterator

from leeward.core.data_regions import acks_required
from leeward.core.values import Phase, Topology

Invariant = Callable[[Topology | None, Topology], Iterator[str]]

_WITHIN_AN_EPOCH = {
    (Phase.STEADY, Phase.SWITCHING),
    (Phase.SWITCHING, Phase.STEADY),
    (Phase.ELECTING, Phase.PROMOTING),
    (Phase.PROMOTING, Phase.STEADY),
    *((phase, phase) for phase in Phase),
}
_INTO_AN_EPOCH = {
    (None, Phase.PROMOTING),
    (Phase.SWITCHING, Phase.PROMOTING),
    (None, Phase.ELECTING),
    *((phase, Phase.ELECTING) for phase in Phase),
}


def broken(before: Topology | None, after: Topology) -> str | None:
    """Return the first thing that the step breaks, in words; None when it breaks nothing.

    What a stored topology breaks already in the same way, as one that was edited by hand, does not keep agents from the
    steps after it. What a step adds to that does.
    """
    for invariant in INVARIANTS:
        already = frozenset(invariant(before, before)) if before is not None else frozenset[str]()
        added = next((text for text in invariant(before, after) if text not in already), None)
        if added is not None:
            return added
    return None


def epochs_never_fall(before: Topology | None, after: Topology) -> Iterator[str]:
    """Within one history of the store no epoch follows a later one."""
    if before is not None and after.generation == before.generation and after.epoch < before.epoch:
        yield f"epoch {after.epoch} follows epoch {before.epoch}"


def phases_follow_the_protocol(before: Topology | None, after: Topology) -> Iterator[str]:
    """Within an epoch a phase has its successors; a new epoch begins with an election, a founding or a handover."""
    same_epoch = before is not None and after.epoch == before.epoch
    step = (None if before is None else before.phase, after.phase)
    if step not in (_WITHIN_AN_EPOCH if same_epoch else _INTO_AN_EPOCH):
        where = f"within epoch {after.epoch}" if same_epoch else f"into epoch {after.epoch}"
        yield f"{step[0] or 'nothing'} becomes {after.phase} {where}"


def only_elections_lack_a_primary(_before: Topology | None, after: Topology) -> Iterator[str]:
    """Exactly the phase ``electing`` has no primary."""
    if (after.primary is None) != (after.phase is Phase.ELECTING):
        yield f"the phase is {after.phase}, and the primary is {after.primary}"


def an_epoch_has_one_primary(before: Topology | None, after: Topology) -> Iterator[str]:
    """No epoch ever has two primaries."""
    if before is None or before.epoch != after.epoch or before.primary is None:
        return
    if after.primary != before.primary:
        yield f"epoch {after.epoch} has the primary {after.primary} after {before.primary}"


def primaries_have_replicas(_before: Topology | None, after: Topology) -> Iterator[str]:
    """A primary, and the target of a switchover, is a data region."""
    named = [after.primary, after.target if after.phase is Phase.SWITCHING else None]
    yield from (f"{each} has no replica" for each in named if each is not None and each not in after.data_regions)


def a_switchover_hands_over_what_was_written(before: Topology | None, after: Topology) -> Iterator[str]:
    """Whoever takes over in a switchover is its target, and knows where the old primary's WAL ended."""
    if before is None or (before.phase, after.phase) != (Phase.SWITCHING, Phase.PROMOTING):
        return
    if after.primary != before.target or after.deposed != before.primary:
        yield f"{after.primary} takes over from {after.deposed}; expected {before.target} from {before.primary}"
    if after.handover_lsn is None:
        yield "the end of the old primary's WAL is unknown"


def data_regions_change_one_at_a_time(before: Topology | None, after: Topology) -> Iterator[str]:
    """A set of data regions follows another one by one region, under one steady primary, once commits kept both rules.

    Only a recovery, which trusts no set, may name another one.
    """
    if before is None or after.recovering:
        return
    changed = set(before.data_regions) ^ set(after.data_regions)
    if not changed:
        return
    if len(changed) > 1:
        yield f"{len(changed)} data regions change at once"
    if (before.epoch, before.phase, after.phase) != (after.epoch, Phase.STEADY, Phase.STEADY):
        yield f"data regions change on the way from {before.phase} to {after.phase}"
    if before.joint_lsn is None:
        yield "data regions change before commits kept both rules"


def changes_of_data_regions_are_sound(_before: Topology | None, after: Topology) -> Iterator[str]:
    """One region at a time joins or leaves, and commits keep two rules only while one does."""
    if after.joining is not None and after.leaving is not None:
        yield f"{after.joining} joins and {after.leaving} leaves at once"
    if after.joining in after.data_regions:
        yield f"{after.joining} joins but is already a data region"
    if after.leaving is not None and after.leaving not in after.data_regions:
        yield f"{after.leaving} leaves but is not a data region"
    if after.joint and (after.joining is None and after.leaving is None):
        yield "commits keep two rules, but no data region changes"
    if after.joint and after.primary is None:
        yield "the set in force is in doubt during an election"


def acknowledgements_are_of_the_mode(_before: Topology | None, after: Topology) -> Iterator[str]:
    """W follows from mode and data regions. A recovery counts on fewer until its primary is steady."""
    wanted = acks_required(after.mode, len(after.data_regions))
    in_doubt = after.phase in (Phase.ELECTING, Phase.PROMOTING)
    if after.acks_required > wanted or (after.acks_required < wanted and not in_doubt):
        yield f"{after.acks_required} acknowledgements are required, but {after.mode} needs {wanted}"


def promises_change_under_a_steady_primary(before: Topology | None, after: Topology) -> Iterator[str]:
    """What acknowledged writes are promised changes only under a primary that is steady before and after."""
    if before is None or after.recovering or before.mode == after.mode:
        return
    if (before.epoch, before.phase, after.phase) != (after.epoch, Phase.STEADY, Phase.STEADY):
        yield f"{before.mode} becomes {after.mode} on the way from {before.phase} to {after.phase}"


def generations_begin_with_an_election(before: Topology | None, after: Topology) -> Iterator[str]:
    """A topology of another history of the store begins with an election that trusts nothing of the one before."""
    if before is not None and before.generation != after.generation and not after.recovering:
        yield f"a {after.phase} topology continues a history that was replaced"


INVARIANTS: tuple[Invariant, ...] = (
    epochs_never_fall,
    phases_follow_the_protocol,
    only_elections_lack_a_primary,
    an_epoch_has_one_primary,
    primaries_have_replicas,
    a_switchover_hands_over_what_was_written,
    data_regions_change_one_at_a_time,
    changes_of_data_regions_are_sound,
    acknowledgements_are_of_the_mode,
    promises_change_under_a_steady_primary,
    generations_begin_with_an_election,
)
