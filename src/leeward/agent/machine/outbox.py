"""What the agent wants done because of one event, and when time alone calls for the next."""

from leeward.agent.machine import actions as do
from leeward.core import keys
from leeward.core.actions import Note
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Record
from leeward.ports.quorum import Compare, Delete, Put

NEVER_S = float("inf")
# After a transaction without an answer, and after an order that the instance rejected.
RETRY_S = 0.1


class Outbox:
    """The actions so far, in order, and the time of the event they answer. Whatever decides writes into it."""

    def __init__(self, settings: AgentSettings) -> None:
        self.now_s = 0.0
        self.unix_s = 0.0
        self.actions: list[do.Action] = []
        self.judge_at_s = NEVER_S
        """When time alone may change a decision."""
        self._fleet = settings.fleet
        self._me = settings.region
        self._timeout_s = 2 * settings.timers.lease_s
        self._numbers = 0

    def begin(self, now_s: float, unix_s: float) -> None:
        """Start on the next event, at ``now_s`` of the boot clock."""
        self.now_s, self.unix_s = now_s, unix_s
        self.actions = []

    def wake_by(self, at_s: float) -> None:
        """Have everything judged again at ``at_s``, or before."""
        self.judge_at_s = min(self.judge_at_s, at_s)

    def transact(self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...]) -> int:
        """Ask for a transaction on the quorum store and return its number."""
        self._numbers += 1
        self.actions.append(do.Transact(self._numbers, compares, changes, timeout_s=self._timeout_s))
        return self._numbers

    def record(self, app: App | None, epoch: int, note: Note, asked_by: str | None = None) -> Put:
        """Return what puts a note into the decision log."""
        self._numbers += 1
        record = Record(self.unix_s, self._me, app, epoch, note.kind, note.because, note.took_s, asked_by)
        key = keys.decision(self._fleet, self.unix_s, self._me, note.kind, self._numbers)
        return Put(key, encode(record))
