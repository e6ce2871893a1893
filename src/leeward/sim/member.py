"""One member of the simulated quorum store: what it holds, and whom it notifies."""

from collections.abc import Callable

from leeward.core.values import Region
from leeward.ports.quorum import Change

Deliver = Callable[[Change], None]


class Member:
    """One region's etcd member: how far it applied the log, and who watches it."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.alive = True
        self.frozen = False
        self.stalled = False
        """Watchers get nothing for a while, though the member is well."""
        self.applied = 0
        self.watcher: Deliver | None = None
        self.compacted: Callable[[], None] | None = None
        self.watched = 0

    @property
    def up(self) -> bool:
        """Whether it takes part."""
        return self.alive and not self.frozen

    def forget_watcher(self) -> None:
        """Whoever watched is gone."""
        self.watcher = self.compacted = None
