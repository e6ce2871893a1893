"""What does not change while a fleet is explored."""

from leeward.core import keys
from leeward.core.settings import Timers
from leeward.core.values import App, Region, ReplicationMode
from leeward.sim.explore.agents import Agents
from leeward.sim.explore.managers import Managers
from leeward.sim.explore.world import FLEET


class Setting:
    """Who takes part, and every decision that was taken already."""

    def __init__(
        self,
        agents: Agents,
        regions: tuple[Region, ...],
        app: App,
        mode: ReplicationMode,
        timers: Timers,
        *,
        direct: bool,
    ) -> None:
        """``direct``: whether promises also reach the other agents at once, beside the store."""
        self.agents = agents
        self.regions = regions
        self.app = app
        self.managers = Managers(regions)
        self.mode = mode
        self.timers = timers
        self.direct = direct
        self.index = {region: number for number, region in enumerate(regions)}
        self.timeout_ticks = int(2 * timers.lease_s)
        self.beats = {keys.heartbeat(FLEET, region): region for region in regions}
        self.topology = keys.topology(FLEET, app)
