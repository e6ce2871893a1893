"""Which fleet is simulated, and what settings its agents get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from leeward.core import timers
from leeward.core.delays import Freeze
from leeward.core.settings import AgentSettings, AppSettings, RegionSettings
from leeward.core.values import App, FailoverPolicy, Region, ReplicationMode

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
    failover: FailoverPolicy = FailoverPolicy.AUTOMATIC
    freezes: tuple[Freeze, ...] = ()
    """How often a region stands still, for predictions."""
    dns_ttl_s: float = 0.0
    """The part of the RTO that clients of DNS use up."""
    spares: frozenset[Region] = frozenset()
    """Regions that could have a replica, and are no data region in the beginning."""

    @property
    def hosts(self) -> tuple[Region, ...]:
        """Regions that have an instance manager: all but the witnesses."""
        return tuple(region for region in self.regions if region not in self.witnesses)

    @property
    def data_regions(self) -> tuple[Region, ...]:
        """The data regions in the beginning."""
        return tuple(region for region in self.hosts if region not in self.spares)

    @property
    def patience(self) -> timers.Patience:
        """How long the application's primary is left alone."""
        return timers.patience(
            self.rto_s,
            self.rpo_s,
            max(self.rtt_s.values()),
            synchronous=self.mode is not ReplicationMode.ASYNC,
            dns_ttl_s=self.dns_ttl_s,
        )

    def application(self, me: Region, data_regions: tuple[Region, ...]) -> AppSettings:
        """Return the settings of the application for the agent of one region."""
        holds = me in self.hosts
        return AppSettings(
            name=self.app,
            namespace=self.app,
            data_regions=data_regions,
            mode=self.mode,
            rto_s=self.rto_s,
            rpo_s=self.rpo_s,
            lease_s=self.patience.lease_s,
            takeover_s=self.patience.takeover_s,
            failover=self.failover,
            instance_url="simulated" if holds else None,
            instance_host="simulated" if holds else None,
            instance_port=5432,
            host=self.app,
            postgres_port=None,
            egress_ports={},
        )


def settings(me: Region, applications: Sequence[tuple[Fleet, tuple[Region, ...]]]) -> AgentSettings:
    """Return the settings for the agent of one region: each application with the data regions that the files name.

    All of them are in one fleet: the regions are the first one's.
    """
    fleet, _ = applications[0]
    return AgentSettings(
        fleet="simulated",
        region=me,
        regions=tuple(
            RegionSettings(
                name=region,
                witness=region in fleet.witnesses,
                agent_url="",
                gateway_host="",
                gateway_port=0,
                rtt_s=0.0 if region == me else fleet.rtt_s[frozenset((me, region))],
            )
            for region in fleet.regions
        ),
        timers=timers.derive(max(fleet.rtt_s.values())),
        apps=tuple(each.application(me, named) for each, named in applications),
        quorum_url="",
        cluster_url="",
        cluster_token_file="",
        identity_dir="",
        store_identity_dir="",
        gateway_identity_dir="",
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
