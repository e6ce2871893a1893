"""The steps of an instance manager, and their outcomes."""

from dataclasses import dataclass

from leeward.core.values import Region, Unread
from leeward.instance.machine.lineage import Lineage
from leeward.instance.machine.values import Duty, Memory, Proof, State


@dataclass(frozen=True, slots=True)
class AskNeighbours:
    """Ask every other region whether it has data of this database."""


@dataclass(frozen=True, slots=True)
class Initialise:
    """Create the database cluster with its roles, database and epoch table."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start PostgreSQL with this duty."""

    duty: Duty
    recovery: bool
    """As a standby, whatever it was: the data directory is marked first, durably."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End PostgreSQL at once: nothing is acknowledged after this step."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop PostgreSQL: sessions end, standbys get the rest. After ``timeout_s`` it is killed."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Take a checkpoint while still serving, which makes the stop short."""


@dataclass(frozen=True, slots=True)
class ReadEnd:
    """Read from the stopped data directory where the WAL of a clean shutdown ends."""


@dataclass(frozen=True, slots=True)
class Configure:
    """Change the duty of a running PostgreSQL; it is in force when the step ends."""

    duty: Duty


@dataclass(frozen=True, slots=True)
class CloseAdmission:
    """End every session of the application, once no new one can begin."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Disconnect from every upstream: when the step ends no WAL receiver is connected or can connect."""

    duty: Duty
    """One without an upstream."""


@dataclass(frozen=True, slots=True)
class FreeReplay:
    """End the sessions that replay waits for."""


@dataclass(frozen=True, slots=True)
class ProvideSlots:
    """Create a replication slot for each region, and drop those named."""

    regions: tuple[Region, ...]
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promote:
    """Leave recovery; the step ends when PostgreSQL has."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Read our own lineage and the upstream's."""

    upstream: Region


@dataclass(frozen=True, slots=True)
class SaveOrphans:
    """Save the writes of ``epoch`` that follow the fork: the upstream's history does not have them."""

    own: Lineage
    fork_lsn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class KeepData:
    """Put the whole data directory beside the orphans of ``epoch``."""

    epoch: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Keep data that PostgreSQL does not start on: all of it where the disk has room, otherwise its WAL."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """Undo what the upstream's history does not have."""

    upstream: Region


@dataclass(frozen=True, slots=True)
class Copy:
    """Replace the data directory by a base backup of the upstream."""

    upstream: Region


Step = (
    AskNeighbours
    | Initialise
    | Start
    | Kill
    | Stop
    | Checkpoint
    | ReadEnd
    | Configure
    | CloseAdmission
    | Cut
    | FreeReplay
    | ProvideSlots
    | Promote
    | Compare
    | SaveOrphans
    | KeepData
    | SetAside
    | Rewind
    | Copy
)


@dataclass(frozen=True, slots=True)
class Done:
    """The step ended as ordered."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ended with an error; it may have had any part of its effect."""

    problem: str


@dataclass(frozen=True, slots=True)
class NeighboursAnswered:
    """Which regions have data; None for a server that does not answer that."""

    has_data: tuple[tuple[Region, bool | None], ...]


@dataclass(frozen=True, slots=True)
class EndRead:
    """Where the WAL ends; None: PostgreSQL was not shut down cleanly."""

    end_lsn: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Both lineages."""

    own: Lineage
    theirs: Lineage


@dataclass(frozen=True, slots=True)
class OrphansSaved:
    """How many transactions were saved, how many tables could not all be read, and why not the first of them."""

    transactions: int
    unread_tables: int = 0
    unread_first: Unread | None = None
    keep_data: bool = False
    """Data that could not be read must be kept, and the disk has room for it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the data that was set aside is, or its WAL."""

    path: str


@dataclass(frozen=True, slots=True)
class Copied:
    """How much a copy or a rewind transferred."""

    copied_bytes: int


Outcome = Done | Failed | NeighboursAnswered | EndRead | Compared | OrphansSaved | Kept | Copied


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to publish, what to remember, and what to do next, in this order."""

    activity: str
    state: State
    """To be on disk before the step begins."""
    memory: Memory
    settled: bool = False
    problem: str | None = None
    step: Step | None = None
    again_s: float
    """When to decide again, in seconds, if nothing happens before; at once after a step while not settled."""
    guarded: bool = False
    """PostgreSQL must be under the guard before the step begins: from now on it may accept writes."""
    prove: Proof | None = None
    """What the prover has to prove, in parallel with the steps."""
    check_writes: bool = False
    """Small writes are committed periodically, in parallel with the steps, to check the disk."""
