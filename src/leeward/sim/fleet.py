"""Which fleet is simulated, and what its agents are told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leeward.core import timers
from leeward.core.settings import AgentSettings, AppSettings, RegionSettings
from leeward.core.values import App, Region, ReplicationMode

# What the protocol's margin covers: two clocks that differ by no more than this over a lease.
DRIFT_MAX = timers.DRIFT_BOUND / 2


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated: regions, which of them are witnesses, their round trips, and the application."""

    regions: tuple[Region, ...]
    witnesses: frozenset[Region]
    rtt_s: Mapping[frozenset[Region], float]
    app: App
    mode: ReplicationMode
    rto_s: float
    rpo_s: float

    @property
    def data_regions(self) -> tuple[Region, ...]:
        """Regions that have a replica."""
        return tuple(region for region in self.regions if region not in self.witnesses)

    def settings(self, me: Region) -> AgentSettings:
        """Return what the agent of one region is told."""
        holds = me in self.data_regions
        app = AppSettings(
            name=self.app,
            namespace=self.app,
            data_regions=self.data_regions,
            mode=self.mode,
            rto_s=self.rto_s,
            rpo_s=self.rpo_s,
            instance_url="simulated" if holds else None,
            instance_host="simulated" if holds else None,
            instance_port=5432,
            host=self.app,
            postgres_port=None,
            egress_ports={},
        )
        return AgentSettings(
            fleet="simulated",
            region=me,
            regions=tuple(
                RegionSettings(
                    name=region,
                    witness=region in self.witnesses,
                    agent_url="",
                    gateway_host="",
                    gateway_port=0,
                    rtt_s=0.0 if region == me else self.rtt_s[frozenset((me, region))],
                )
                for region in self.regions
            ),
            timers=timers.derive(max(self.rtt_s.values())),
            apps=(app,),
            quorum_url="",
            cluster_url="",
            cluster_token_file="",
            identity_dir="",
            gateway_dir="",
            gateway_host="",
            listen_host="",
            listen_port=0,
        )


THREE = Fleet(
    regions=(Region("us"), Region("eu"), Region("ap")),
    witnesses=frozenset(),
    rtt_s={
        frozenset((Region("us"), Region("eu"))): 0.08,
        frozenset((Region("us"), Region("ap"))): 0.15,
        frozenset((Region("eu"), Region("ap"))): 0.20,
    },
    app=App("payments"),
    mode=ReplicationMode.ASYNC,
    rto_s=5.0,
    rpo_s=5.0,
)


def three(mode: ReplicationMode) -> Fleet:
    """Return the three regions of the examples, replicating as asked."""
    return replace(THREE, mode=mode)
