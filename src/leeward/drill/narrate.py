"""Report what happens while it happens: each decision with its ``because``, and the first write afterwards."""

import asyncio
from collections.abc import Callable

from leeward.core.values import App, Record, Region
from leeward.drill.access import Fleet, FleetUnavailableError
from leeward.drill.ledger import Attempt, Operation, Outcome
from leeward.drill.load import Load
from leeward.drill.measure import Moment

POLL_S = 0.15
STEPS = {
    "PrimaryLost": "detected",
    "FailoverPrepared": "fenced",
    "PrimaryElected": "elected",
    "PrimaryPromoted": "promoted",
    "PrimaryRouted": "routed",
    "StandbyRejoined": "rejoined",
    "SwitchoverStarted": "switching over",
    "PrimaryDrained": "drained",
}


class Narrator:
    """Follows the decision log and the load; keeps every record, in order."""

    def __init__(self, app: App, fleet: Fleet, load: Load, progress: Callable[[str], None]) -> None:
        self.records: list[Record] = []
        self._app = app
        self._fleet = fleet
        self._load = load
        self._progress = progress
        self._cursor = 0
        self._fault: Moment | None = None
        self._lost: frozenset[Region] = frozenset()
        self._announced = 0
        self._looked_at = 0
        self._wrote = False
        self._broken = False

    def fault_injected(self, fault: Moment, lost: frozenset[Region]) -> None:
        """Report from here on, with times relative to the fault."""
        self._fault = fault
        self._lost = lost
        self._looked_at = len(self._load.attempts)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(POLL_S)

    async def catch_up(self) -> None:
        """Fetch and report what is new."""
        try:
            fresh, self._cursor = await self._fleet.records(self._cursor)
        except FleetUnavailableError:
            fresh = ()
        self.records += fresh
        if self._fault is None:
            return
        self._report_decisions(self._fault)
        self._report_first_write(self._fault)

    def _report_decisions(self, fault: Moment) -> None:
        for record in self.records[self._announced :]:
            if record.app in (self._app, None) and record.at_unix_s >= fault.at_unix_s:
                word = STEPS.get(record.kind, record.kind)
                self._progress(f"+{record.at_unix_s - fault.at_unix_s:.2f} s {word}: {record.because}")
        self._announced = len(self.records)

    def _report_first_write(self, fault: Moment) -> None:
        """Report the first acknowledged write after writes had stopped."""
        fresh = self._load.attempts[self._looked_at :]
        self._looked_at += len(fresh)
        for attempt in fresh:
            if not self._counts(attempt, fault):
                continue
            if attempt.outcome is not Outcome.ACKNOWLEDGED:
                self._broken = True
            elif self._broken and not self._wrote:
                self._wrote = True
                since_s = attempt.done_s - fault.at_boot_s
                self._progress(f"+{since_s:.2f} s first write: acknowledged through the gateway of {attempt.gateway}")

    def _counts(self, attempt: Attempt, fault: Moment) -> bool:
        elsewhere = attempt.operation is Operation.WRITE and attempt.gateway not in self._lost
        return elsewhere and attempt.sent_s >= fault.at_boot_s
