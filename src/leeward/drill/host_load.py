"""How busy the machine was while a drill ran, measured by how long the drill's own thread waited for a CPU.

On an overloaded machine agents stall for longer than a lease and pods for longer than a probe, so that rules are broken
without a fault in the fleet. Linux records how long each thread waited for a CPU.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

# With three regions on two otherwise idle cores, a drill waits half as long as it runs; with thirty other busy
# processes, ten times as long.
WAITED_PER_RAN_MAX = 2.0


@dataclass(frozen=True, slots=True)
class HostLoad:
    """CPU time of one thread."""

    ran_s: float
    waited_s: float
    """Runnable, waiting for a CPU."""

    def since(self, before: "HostLoad") -> "HostLoad":
        """Return the difference to an earlier sample."""
        return HostLoad(self.ran_s - before.ran_s, self.waited_s - before.waited_s)

    @property
    def because(self) -> str | None:
        """Why this run cannot tell whether the fleet is fast enough; None: the machine was not overloaded."""
        if self.waited_s <= WAITED_PER_RAN_MAX * self.ran_s:
            return None
        return (
            f"the machine was overloaded: the drill waited {self.waited_s:.1f} s for a CPU "
            f"and ran for {self.ran_s:.1f} s"
        )


def sample() -> HostLoad:
    """Return this thread's CPU time since its start; zero where the kernel does not record it."""
    try:
        ran, waited, _ = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()
    except OSError:
        return HostLoad(0.0, 0.0)
    return HostLoad(int(ran) / 1e9, int(waited) / 1e9)
