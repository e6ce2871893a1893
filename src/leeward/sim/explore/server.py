"""An abstract PostgreSQL and its data directory, as a value. Pure.

History is a tuple of entries, and an LSN is a length. A promotion writes an entry of its own, on a new timeline; the
record of an epoch is another one. Commits wait as in ``leeward.sim.commits``: whether they wait is a flag that the
checkpointer loads when it is free; whom they wait for the WAL senders know at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

from leeward.core.values import Region, Role, Synchronous, SynchronousMethod
from leeward.instance.machine.lineage import Lineage
from leeward.instance.machine.values import Duty, Observation

RECORD, BRANCH = 0, -1


class Entry(NamedTuple):
    """One entry of the WAL."""

    epoch: int
    """The last epoch that was recorded before it; a record's own."""
    write: int
    """The number of a client's write; RECORD: the record of an epoch; BRANCH: a promotion, or the beginning."""
    timeline: int
    by: Region
    """Whose promotion began the timeline: two that fork from one have the same number."""


class Server(NamedTuple):
    """One region's PostgreSQL, and what is on its disk."""

    history: tuple[Entry, ...] = ()
    recovery_signal: bool = False
    """It would start as a standby."""
    consistent_lsn: int = 0
    """Fresh from a rewind it answers no query before it holds this much."""
    saved: frozenset[tuple[int, int]] = frozenset()
    """Orphaned writes that were saved: (epoch, write)."""
    role: Role = Role.STOPPED
    """STANDBY: in recovery, connected or not."""
    follows: Region | None = None
    """The region that it is configured to stream from."""
    upstream: Region | None = None
    """The region that it streams from."""
    names: Synchronous | None = None
    """Who must acknowledge, as it is configured."""
    waits: bool = False
    """The flag in force: commits wait."""
    admits: bool = True
    """The application may have sessions."""
    closing_until_s: float | None = None
    """It stops cleanly, and is killed then."""
    waiting: tuple[int, ...] = ()
    """LSNs of writes that are not acknowledged yet."""

    @property
    def epoch(self) -> int:
        """The last epoch recorded: its writes belong to it."""
        return self.history[-1].epoch if self.history else 0

    @property
    def answers(self) -> bool:
        """Whether it answers queries."""
        return self.role is not Role.STOPPED and len(self.history) >= self.consistent_lsn

    @property
    def accepts(self) -> bool:
        """Whether the application can write."""
        return self.role is Role.PRIMARY and self.admits and self.closing_until_s is None

    @property
    def shown(self) -> Role:
        """What its manager says that it is."""
        if not self.answers:
            return Role.STOPPED
        return Role.DETACHED if self.role is Role.STANDBY and self.follows is None else self.role

    def observed(self) -> Observation | None:
        """Return what it answers to its manager; None when it does not."""
        if not self.answers:
            return None
        length, recovery = len(self.history), self.role is not Role.PRIMARY
        return Observation(
            in_recovery=recovery,
            flushed_lsn=None if recovery else length,
            received_lsn=length if recovery else None,
            replayed_lsn=length if recovery else None,
            epoch=self.epoch,
            synchronous_names="",
            upstream_conninfo=self.follows or "",
            receivers=() if self.follows is None else (1,),
            streaming_from=None,
            replay_idle=True,
            replay_blocked=False,
            slots=(),
            senders=(),
        )


def initialised(server: Server, me: Region) -> Server:
    """Create a database."""
    return server._replace(history=(Entry(0, BRANCH, 1, me),), recovery_signal=False)


def ended(server: Server) -> Server:
    """End at once; the disk stays."""
    return Server(server.history, server.recovery_signal, server.consistent_lsn, server.saved)


def started(server: Server, duty: Duty, *, recovery: bool) -> Server:
    """Begin to answer; the configuration is loaded before any session begins."""
    signal = server.recovery_signal or recovery
    return server._replace(
        recovery_signal=signal,
        role=Role.STANDBY if signal else Role.PRIMARY,
        follows=duty.upstream if signal else None,
        names=duty.synchronous,
        waits=duty.synchronous is not None,
        admits=duty.admits,
    )


def configured(server: Server, duty: Duty, *, busy: bool) -> Server:
    """Change the duty; ``busy``: the checkpointer loads nothing now. Only CloseAdmission closes admission."""
    server = server._replace(
        names=duty.synchronous,
        waits=server.waits if busy else duty.synchronous is not None,
        admits=server.admits or duty.admits,
    )
    if server.role is Role.PRIMARY or server.follows == duty.upstream:
        return server
    return server._replace(follows=duty.upstream, upstream=None)


def loaded(server: Server) -> Server:
    """Let the checkpointer load what is configured."""
    return server._replace(waits=server.names is not None) if server.role is not Role.STOPPED else server


def promoted(server: Server, me: Region) -> Server:
    """Leave recovery and begin a timeline."""
    branch = Entry(server.epoch, BRANCH, server.history[-1].timeline + 1, me)
    return server._replace(
        history=(*server.history, branch), role=Role.PRIMARY, recovery_signal=False, follows=None, upstream=None
    )


def written(server: Server, write: int, epoch: int | None = None) -> Server:
    """Append an entry; one of a client waits to be acknowledged."""
    last = server.history[-1]
    history = (*server.history, last._replace(epoch=last.epoch if epoch is None else epoch, write=write))
    waiting = server.waiting if write == RECORD else (*server.waiting, len(history))
    return server._replace(history=history, waiting=waiting)


def lineage(server: Server) -> Lineage:
    """Return its history as managers compare them."""
    starts = [
        lsn
        for lsn, entry in enumerate(server.history)
        if lsn == 0 or (entry.timeline, entry.by) != (server.history[lsn - 1].timeline, server.history[lsn - 1].by)
    ]
    ends = [*starts[1:], len(server.history)]
    first, *_ = server.history
    return Lineage(
        system=first.by,
        segments=tuple(enumerate(ends, start=1)),
        epochs=frozenset(entry.epoch for entry in server.history if entry.write == RECORD),
        in_recovery=server.role is not Role.PRIMARY,
        replayed_lsn=len(server.history),
    )


def begun(history: tuple[Entry, ...]) -> bool:
    """Whether an epoch was recorded since the last promotion."""
    last = next(entry for entry in reversed(history) if entry.write <= RECORD)
    return last.write == RECORD


def common(one: tuple[Entry, ...], other: tuple[Entry, ...]) -> int:
    """Return how many entries two histories begin with alike."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def acknowledged_lsn(me: Region, servers: Mapping[Region, Server]) -> int:
    """Return up to which LSN commits return now."""
    server = servers[me]
    if not server.waits:
        return len(server.history)
    names = server.names
    if names is None:
        # No WAL sender releases anything; the checkpointer will.
        return 0
    flushed = [len(servers[region].history) for region in names.members if servers[region].upstream == me]
    if len(flushed) < names.required:
        return 0
    if names.method is SynchronousMethod.FIRST:
        return min(flushed[: names.required])
    return sorted(flushed, reverse=True)[names.required - 1]
