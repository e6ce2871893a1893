"""How busy the machine was while a drill ran, as far as the drill's own thread felt it.

On a machine that has far more to do than it can, agents stand still for longer than a lease and pods for longer than a
probe: rules break that no fault of the fleet broke. Linux keeps how long each thread waited for a processor.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

# Beside three regions on two quiet cores, a drill waits for half as long as it runs; beside thirty other processes, ten
# times as long.
WAITED_PER_RAN_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Crowding:
    """What one thread got of the processors."""

    ran_s: float
    waited_s: float
    """Ready to run, and others ran."""

    def since(self, before: "Crowding") -> "Crowding":
        """Return what it got since an earlier look."""
        return Crowding(self.ran_s - before.ran_s, self.waited_s - before.waited_s)

    @property
    def because(self) -> str | None:
        """Why a run says nothing about whether the fleet is quick enough; None: the machine was not overloaded."""
        if self.waited_s <= WAITED_PER_RAN_MAX * self.ran_s:
            return None
        return (
            f"the machine was overloaded: the drill itself waited {self.waited_s:.1f} s for a processor "
            f"to run for {self.ran_s:.1f} s"
        )


def look() -> Crowding:
    """Return what this thread got since it began; nothing where the kernel does not count it."""
    try:
        ran, waited, _ = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()
    except OSError:
        return Crowding(0.0, 0.0)
    return Crowding(int(ran) / 1e9, int(waited) / 1e9)
