"""The conditions of every application as this agent knows them, and since when.

Always true: a status is only reported to have lasted since a moment from which on it was observed without a pause.
"""

from datetime import UTC, datetime
from types import MappingProxyType

from leeward.agent.machine.application import Application
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.changes import Changes
from leeward.core.conditions.certificate_conditions import Known
from leeward.core.conditions.judge import Facts, conditions
from leeward.core.conditions.values import Condition, Status, Type
from leeward.core.values import App
from leeward.ports.clock import Clock

# Whoever asks looks, too; what takes longer than a lease and this is a pause.
LATE_S = 1.0
# The files are read once, when the agent starts; it has never seen others.
GENERATION = 1
NONE: Known = MappingProxyType({})


def facts(machine: Machine, app: Application, now_s: float, certificates: Known = NONE) -> Facts:
    """Return the facts that an application's conditions are judged by."""
    store = machine.store
    return Facts(
        view=machine.view(app, now_s),
        because=app.because,
        quorum_age_s=now_s - store.heard_at_s if store.revision else None,
        drill=store.drills.get(app.settings.name),
        store=machine.store_facts,
        certificates=certificates,
        unix_s=machine.store_facts.unix_s,
    )


class Conditions:
    """Looks at the machine, changes nothing of it, and remembers when a status last changed."""

    def __init__(self, machine: Machine, clock: Clock, changes: Changes, certificates: Known = NONE) -> None:
        """``certificates``: what agents report about theirs; it changes, and is read again each time."""
        self._machine = machine
        self._certificates = certificates
        self._clock = clock
        self._changes = changes
        self._since: dict[tuple[App, Type], tuple[Status, float]] = {}
        self._looked_at_s = 0.0

    async def run(self) -> None:
        """Look whenever something changes, and when time alone may change a status, until cancelled."""
        version = self._changes.version
        while True:
            self.look()
            version = await self._changes.after(version, within_s=self.look_within_s())

    def look_within_s(self) -> float:
        """Return after which time to look again although nothing was reported.

        When a silence begins to count, and after a lease in any case: certificates and backups age as well.
        """
        now_s = self._clock.now_s()
        return min(self._machine.silence_at_s(now_s) - now_s, self._machine.timers.lease_s)

    def look(self) -> dict[App, tuple[Condition, ...]]:
        """Return every application's conditions as of now."""
        now_s, unix_s = self._clock.now_s(), self._clock.unix_s()
        if now_s - self._looked_at_s > self._machine.timers.lease_s + LATE_S:
            # Frozen meanwhile: what changed, and came back, was not seen.
            self._since.clear()
        self._looked_at_s = now_s
        found = {
            name: conditions(facts(self._machine, app, now_s, self._certificates))
            for name, app in self._machine.apps.items()
        }
        for name, each in found.items():
            for condition in each:
                known = self._since.get((name, condition.type))
                if known is None or known[0] is not condition.status:
                    self._since[name, condition.type] = (condition.status, unix_s)
        return found

    def documents(self) -> dict[App, list[dict[str, str | int]]]:
        """Return them as ``metav1.Condition``, as of now."""
        return {
            name: [
                {
                    "type": each.type,
                    "status": each.status,
                    "reason": each.reason,
                    "message": each.message,
                    "lastTransitionTime": _rfc3339(self._since[name, each.type][1]),
                    "observedGeneration": GENERATION,
                }
                for each in found
            ]
            for name, found in self.look().items()
        }


def _rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
