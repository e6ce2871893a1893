"""The sets of data regions that count, and who must acknowledge a write under one set or under two.

A data region joins or leaves one at a time, so two sets that follow one another differ in one region. With
W = floor(D / 2) acknowledgements the larger set needs as many as the smaller one, or one more. One setting of
PostgreSQL keeps both rules: the same number, counted among the smaller set's standbys only; or the larger number,
counted among all standbys, of which at most one is outside of the smaller set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leeward.core.values import Region, ReplicationMode, Topology


@dataclass(frozen=True, slots=True)
class Rule:
    """A commit waits for ``required`` of ``members``."""

    mode: ReplicationMode
    required: int
    members: tuple[Region, ...]


def acks_required(mode: ReplicationMode, data_regions: int) -> int:
    """Return W: half of the data regions, so that with the primary a majority holds every write."""
    return 0 if mode is ReplicationMode.ASYNC else data_regions // 2


def replicas(topology: Topology) -> tuple[Region, ...]:
    """Return every region that has a replica, the learner too."""
    return topology.data_regions if topology.joining is None else (*topology.data_regions, topology.joining)


def next_set(topology: Topology) -> tuple[Region, ...]:
    """Return the data regions once the change under way is over."""
    return tuple(region for region in replicas(topology) if region != topology.leaving)


def rolled_back(topology: Topology) -> Topology:
    """Return the topology with the change back at its beginning: only the set in force counts. A learner remains one.

    Safe at any time: whatever was acknowledged under both rules was acknowledged under that of the set in force.
    """
    return replace(topology, leaving=None, joint=False, joint_lsn=None)


def strictest(topology: Topology) -> ReplicationMode:
    """Return the stricter of the mode in force and the one asked for: what PostgreSQL obeys."""
    modes = (topology.mode, topology.requested_mode)
    return next((mode for mode in modes if mode not in (None, ReplicationMode.ASYNC)), None) or ReplicationMode.ASYNC


def rule(topology: Topology, primary: Region) -> Rule | None:
    """Return who must acknowledge ``primary``'s commits; None when they wait for no standby.

    While ``joint`` it keeps the rules of the set in force and of the next one.
    """
    mode, current = strictest(topology), topology.data_regions
    following = next_set(topology) if topology.joint else current
    small, large = sorted((current, following), key=len)
    required = acks_required(mode, len(large))
    counted = small if acks_required(mode, len(small)) == required else large
    members = tuple(region for region in counted if region != primary)
    return Rule(mode, required, members) if required else None


def agreed(
    declared: Mapping[Region, tuple[Region, ...] | None], regions: tuple[Region, ...]
) -> tuple[Region, ...] | None:
    """Return the data regions that a majority of the regions' files name; None while no majority agrees.

    While files are rolled out, agents differ in what they read. One agent alone must not undo what the others have
    done, nor found an application that the others no longer know.
    """
    needed = len(regions) // 2 + 1
    named = [each for region in regions if (each := declared.get(region))]
    return next((each for each in named if named.count(each) >= needed), None)
