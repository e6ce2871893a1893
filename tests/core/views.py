"""Builders: a steady application in three regions, and how it differs in the row at hand."""

from dataclasses import replace
from typing import Any

from leeward.core import timers
from leeward.core.progress import Progress
from leeward.core.settings import AppSettings
from leeward.core.values import (
    App,
    Heartbeat,
    InstanceReport,
    InstanceStatus,
    Order,
    Phase,
    Promise,
    Region,
    ReplicationMode,
    Role,
    Sender,
    Topology,
    Vantage,
    WalPosition,
)
from leeward.core.view import Fence, Seen, View

US, EU, AP = Region("us"), Region("eu"), Region("ap")
REGIONS = (US, EU, AP)
APP = App("payments")
TIMERS = timers.derive(0.2)
LEASE_S, MARGIN_S = TIMERS.lease_s, TIMERS.margin_s
DOWN, UP = Vantage(False, "no answer"), Vantage(True, "it holds its lease")
SETTINGS = AppSettings(
    name=APP,
    namespace="payments",
    data_regions=REGIONS,
    mode=ReplicationMode.ASYNC,
    rto_s=5,
    rpo_s=5,
    lease_s=LEASE_S,
    takeover_s=LEASE_S,
    instance_url="https://instance",
    instance_host="127.0.0.1",
    instance_port=5432,
    host="payments.example.com",
    postgres_port=5432,
    egress_ports={US: 15001, EU: 15002, AP: 15003},
)
STEADY = Topology(
    app=APP,
    epoch=1,
    phase=Phase.STEADY,
    primary=US,
    data_regions=REGIONS,
    mode=ReplicationMode.ASYNC,
    acks_required=0,
    because="the first of its placement",
)


def wal(epoch: int, lsn: int) -> WalPosition:
    return WalPosition(epoch, lsn)


def topology(**changes: Any) -> Topology:
    built = replace(STEADY, **changes)
    if built.mode is not ReplicationMode.ASYNC and "acks_required" not in changes:
        return replace(built, acks_required=1)
    return built


def electing(**changes: Any) -> Topology:
    base = {
        "epoch": 2,
        "phase": Phase.ELECTING,
        "primary": None,
        "deposed": US,
        "deposed_lease_over": True,
        "favourite": EU,
    }
    return topology(**(base | changes))


def order(epoch: int, role: Role, upstream: Region | None = None) -> Order:
    """What the instance of one of the three regions is ordered to be."""
    return Order(epoch, role, upstream, replicas=REGIONS, data_regions=REGIONS)


def status(role: Role = Role.STANDBY, *, epoch: int = 1, lsn: int = 100, **changes: Any) -> InstanceStatus:
    base = InstanceStatus(
        clock_s=0,
        incarnation="a",
        epoch=epoch,
        role=role,
        order=Order(epoch, role),
        settled=True,
        activity="running",
        writable=role is Role.PRIMARY,
        proved=role is Role.PRIMARY,
        wal=WalPosition(epoch, lsn),
        replayed_lsn=lsn,
        upstream=None,
    )
    return replace(base, **changes)


def sender(region: Region, *, lsn: int = 100, synchronous: bool = False, streaming: bool = True) -> Sender:
    return Sender(region, streaming, lsn, lsn, synchronous)


def report(role: Role = Role.STANDBY, *, lsn: int = 100, **changes: Any) -> InstanceReport:
    base = InstanceReport(
        role=role, epoch=1, writable=role is Role.PRIMARY, wal=wal(1, lsn), upstream=US, healthy=True, pods_ready=2
    )
    return replace(base, **changes)


def seen(
    region: Region,
    at_s: float,
    *,
    vantages: dict[Region, Vantage] | None = None,
    report_: InstanceReport | None = None,
    revision: int = 10,
) -> Seen:
    given = report_ if report_ is not None else report()
    heartbeat = Heartbeat(region, "a", 1, 0, vantages or {}, {APP: given})
    return Seen(heartbeat, revision, at_s)


def promise(region: Region, lsn: int = 100, *, epoch: int = 2, wal_epoch: int = 1, healthy: bool = True) -> Promise:
    return Promise(region, APP, epoch, WalPosition(wal_epoch, lsn), healthy)


def view(me: Region = EU, now_s: float = 100.0, **changes: Any) -> View:
    """A view in which everybody was heard just now and everybody sees everybody serving."""
    base: dict[str, Any] = {
        "now_s": now_s,
        "me": me,
        "regions": REGIONS,
        "app": SETTINGS,
        "timers": TIMERS,
        "topology": STEADY,
        "topology_revision": 5,
        "topology_seen_at_s": now_s - 10,
        "fences": {US: Fence(7, 3)},
        "seen": {region: seen(region, now_s) for region in REGIONS},
        "vantages": {region: UP for region in REGIONS if region != me},
        "instance": status(),
        "lease_until_s": now_s + LEASE_S,
        "progress": (Progress(9.0, wal(1, 0)), Progress(10.0, wal(1, 100))),
        "writes_until_s": now_s + LEASE_S,
    }
    return View(**(base | changes))


def lost_view(me: Region = EU, *, silent_s: float = LEASE_S + MARGIN_S, **changes: Any) -> View:
    """The primary's region fell silent; both others cannot see it."""
    now_s = 100.0
    other = AP if me == EU else EU
    base: dict[str, Any] = {
        "seen": {
            US: seen(US, now_s - silent_s, report_=report(Role.PRIMARY)),
            me: seen(me, now_s),
            other: seen(other, now_s, vantages={US: DOWN}),
        },
        "vantages": {US: DOWN, other: UP},
    }
    return view(me, now_s, **(base | changes))
