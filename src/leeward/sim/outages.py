"""Every outage has a reason: a second without an acknowledged write needs a fault that lasts, or just ended."""

from leeward.sim.application import Application
from leeward.sim.fault_injector import FaultInjector
from leeward.sim.schedule import Schedule
from leeward.sim.violation import ViolationError

LOOK_EVERY_S = 1.0
RECOVERY_S = 15.0
"""What an election, a promotion and a return of users may take, beyond the wait for the lease."""


class Outages:
    """Looks at one application every second of the injector."""

    def __init__(self, application: Application, schedule: Schedule, injector: FaultInjector) -> None:
        self._application = application
        self._schedule = schedule
        self._injector = injector
        self.bound_s = RECOVERY_S + 2 * application.fleet.patience.takeover_s
        """How long a fault that is over may explain an outage."""
        self.seconds = 0
        """How many seconds there was no acknowledged write."""

    def look(self) -> None:
        """Look now, and again in a second, until everything heals. Raises ViolationError."""
        schedule, injector, acknowledged = self._schedule, self._injector, self._application.acknowledgements
        if injector.over:
            return
        last_s = acknowledged[-1].committed_at_s if acknowledged else 0.0
        if schedule.now_s - last_s > LOOK_EVERY_S:
            self.seconds += 1
            since_s = max(last_s, injector.disturbed_at_s)
            if not injector.disturbs and schedule.now_s - since_s > self.bound_s:
                raise ViolationError(
                    f"no write of {self._application.app} was acknowledged for {schedule.now_s - last_s:.1f} s, and no "
                    f"fault has lasted for {schedule.now_s - since_s:.1f} s"
                )
        schedule.after(LOOK_EVERY_S, self.look)
