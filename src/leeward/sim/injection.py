"""Begins each kind of fault in a simulation, and returns what ends it."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

from leeward.agent.machine import events as on
from leeward.core.values import Region, ReplicationMode
from leeward.sim import disks, links
from leeward.sim.database import Instance
from leeward.sim.faults import Fault, Kind
from leeward.sim.postgres import Postgres
from leeward.sim.region import PODS
from leeward.sim.simulation import Simulation

BULK_EVERY_S = 0.1

End = Callable[[], None]


class Injection:
    """What faults do to the parts of a simulation. ``fault_injector`` determines when."""

    def __init__(self, simulation: Simulation, ask: Callable[[Region, Callable[[str], on.Request]], None]) -> None:
        self._simulation = simulation
        self._ask = ask
        """Lets an operator ask a region's agent for something."""
        self.restores = 0
        """How often the store went back."""
        self.disks_lost = 0

    def begin(self, fault: Fault) -> End | None:
        """Start a fault; return what ends it, None when it is over already."""
        match fault.kind:
            case Kind.REGION_LOSS | Kind.REGION_FREEZE | Kind.MACHINE_PAUSE | Kind.AGENT_KILL | Kind.SERVICE_LOSS:
                return self._stop_in_region(fault)
            case Kind.CLOCK_DRIFT | Kind.CLOCK_JUMP:
                self._change_clock(fault)
                return None
            case Kind.INSTANCE_KILL | Kind.DATABASE_CRASH | Kind.VOLUME_LOSS | Kind.STATE_LOSS:
                return self._stop_instance(fault)
            case (
                Kind.BUSY_CHECKPOINTER
                | Kind.LATE_REQUEST
                | Kind.WAL_REMOVED
                | Kind.STEP_FAILURE
                | Kind.HUNG_DISK
                | Kind.FULL_DISK
                | Kind.SETTINGS
                | Kind.BULK_WRITE
            ):
                return self._disturb_instance(fault)
            case Kind.SLOW_DISK:
                return self._slow_disk(fault)
            case Kind.SLOW_REPLICA:
                return self._slow_replica(fault)
            case Kind.LEADER_MOVE | Kind.MEMBER_KILL | Kind.WATCH_STALL | Kind.COMPACTION:
                return self._disturb_store(fault)
            case Kind.STORE_RESTORE | Kind.STORE_WIPE | Kind.AMNESIA:
                return self._set_store_back(fault)
            case Kind.SWITCHOVER | Kind.FAILOVER | Kind.MODE | Kind.PAUSE | Kind.DATA_REGIONS:
                return self._let_operator_act(fault)
            case Kind.SLOW_LINK:
                return links.slow(self._simulation.network, fault, self._simulation.fleet.regions)
            case Kind.ISOLATION | Kind.PARTITION | Kind.ONE_WAY | Kind.FLAPPING | Kind.BLIP:
                return links.cut(self._simulation.network, fault, self._simulation.fleet.regions)
            case _:
                assert_never(fault.kind)

    def _instance(self, region: Region) -> Instance | None:
        """Return the region's instance of the application that faults are aimed at."""
        return self._simulation.sites[region].instances.get(self._simulation.fleet.app)

    def _stop_in_region(self, fault: Fault) -> End | None:
        """End a region, its agent or its pods, or let the region's processes stand still."""
        site = self._simulation.sites[fault.where]
        match fault.kind:
            case Kind.REGION_LOSS if not site.dead:
                site.kill()
                return site.restart
            case Kind.REGION_FREEZE | Kind.MACHINE_PAUSE if not (site.dead or site.frozen):
                site.freeze(kernel=fault.kind is Kind.MACHINE_PAUSE)
                return site.thaw
            case Kind.AGENT_KILL:
                site.kill_agent()
                return site.restart_agent
            case Kind.SERVICE_LOSS if site.pods and self._instance(fault.where) is not None:
                site.service(())
                return partial(site.service, PODS)
        return None

    def _change_clock(self, fault: Fault) -> None:
        """Let a region's boot clock drift, or its wall clock jump. Neither ends by itself."""
        site = self._simulation.sites[fault.where]
        if fault.kind is Kind.CLOCK_DRIFT:
            site.drift_at(fault.amount)
        else:
            site.wall_clock_ahead_s += fault.amount

    def _stop_instance(self, fault: Fault) -> End | None:
        """End an instance manager or its PostgreSQL, with what is on its disk or without."""
        instance = self._instance(fault.where)
        if instance is None:
            return None
        match fault.kind:
            case Kind.DATABASE_CRASH:
                if instance.process.running:
                    instance.crash_database()
                return None
            case Kind.INSTANCE_KILL:
                return _kill(instance, at_a_step=bool(fault.amount))
            case _:
                return self._lose(fault, instance)

    def _let_operator_act(self, fault: Fault) -> End | None:
        """An operator asks a region's agent for something, or changes the files."""
        where, app, to = fault.where, self._simulation.fleet.app, fault.other or fault.where
        match fault.kind:
            case Kind.SWITCHOVER:
                self._ask(where, lambda name: on.SwitchoverRequested(name, app, to))
            case Kind.FAILOVER:
                self._ask(where, lambda name: on.FailoverRequested(name, app, to))
            case Kind.MODE:
                mode = tuple(ReplicationMode)[int(fault.amount)]
                self._ask(where, lambda name: on.ModeRequested(name, app, mode))
            case Kind.PAUSE:
                self._ask(where, lambda name: on.PauseRequested(name, app, True))
                return lambda: self._ask(where, lambda name: on.PauseRequested(name, app, False))
            case _:
                self._change_data_regions(where, prefer=fault.amount > 0)
        return None

    def _change_data_regions(self, region: Region, *, prefer: bool) -> None:
        """The files name another set: the region is added, removed, or preferred to all others."""
        simulation = self._simulation
        if region not in simulation.fleet.hosts:
            return
        placement = simulation.application.placement
        others = tuple(each for each in placement if each != region)
        if prefer or not others:
            simulation.place((region, *others))
        else:
            simulation.place(others if region in placement else (*others, region))

    def _disturb_store(self, fault: Fault) -> End | None:
        """End a member of the store, move the leader, stall a watch, or compact."""
        store, where, site = self._simulation.store, fault.where, self._simulation.sites[fault.where]
        match fault.kind:
            case Kind.LEADER_MOVE:
                store.move_leader(where)
            case Kind.COMPACTION:
                store.compact()
            case Kind.WATCH_STALL:
                store.stall(where, True)
                return partial(store.stall, where, False)
            case Kind.MEMBER_KILL if not site.dead:
                store.members[where].alive = False
                return lambda: None if site.dead else store.restart(where)
        return None

    def _set_store_back(self, fault: Fault) -> End | None:
        """Let an older state of the store, or none, take the place of the newest."""
        if fault.kind is Kind.AMNESIA:
            for application in self._simulation.applications:
                application.writers.forgetful = True
            self._simulation.store.restore(fault.amount, bumped=False)
            return None
        # With a disk lost besides, no one knows any more who held what: beyond what is promised.
        return None if self.disks_lost else self._restore_store(fault)

    def _restore_store(self, fault: Fault) -> End:
        """Every member stops; an older state, or none, is there when they start again."""
        store, sites = self._simulation.store, self._simulation.sites
        self.restores += 1
        number = self.restores
        for member in store.members.values():
            member.alive = False

        def start() -> None:
            if fault.kind is Kind.STORE_RESTORE:
                store.restore(fault.amount, mark=f"restored-{number}")
            else:
                store.restore(None, bumped=False)
            for region, site in sites.items():
                if not site.dead:
                    store.restart(region, frozen=site.frozen)

        return start

    def _lose(self, fault: Fault, instance: Instance) -> End | None:
        """At most one disk a world is lost, and never the only one: two may be all that hold a write."""
        if not instance.process.alive:
            return None
        if fault.kind is Kind.VOLUME_LOSS and (self.disks_lost or self.restores or not self._copied(fault.where)):
            return None
        instance.die()
        if fault.kind is Kind.STATE_LOSS:
            instance.lose_state()
        else:
            self.disks_lost += 1
            instance.lose_disk()
        return instance.restart

    def _copied(self, region: Region) -> bool:
        """Whether a region's disk is not the only one with a data region's data, whole."""
        simulation, topology = self._simulation, self._simulation.topology
        others = () if topology is None else (each for each in topology.data_regions if each != region)
        instances = (simulation.sites[each].instances[simulation.fleet.app] for each in others)
        return any(_is_whole(each) for each in instances)

    def _disturb_instance(self, fault: Fault) -> End | None:
        """Let something be wrong with an instance, or how it is asked, for a while."""
        instance = self._instance(fault.where)
        if instance is None:
            return None
        site, server, hands = self._simulation.sites[fault.where], instance.postgres, instance.hands
        match fault.kind:
            case Kind.BUSY_CHECKPOINTER:
                server.commits.occupy()
                return server.commits.free
            case Kind.HUNG_DISK:
                server.hang()
                return server.go_on
            case Kind.FULL_DISK:
                return disks.fill(instance, commits=fault.amount > 0)
            case Kind.LATE_REQUEST:
                site.late_s[instance.app] = fault.amount
                return lambda: site.late_s.update({instance.app: 0.0})
            case Kind.WAL_REMOVED:
                server.keeps = int(fault.amount)
                return lambda: setattr(server, "keeps", None)
            case Kind.STEP_FAILURE:
                return disks.fail_steps(hands, fault.amount)
            case Kind.BULK_WRITE:
                return self._write_in_bulk(server, int(fault.amount))
            case _:
                return self._waive()

    def _write_in_bulk(self, server: Postgres, records: int) -> End:
        """Ten times a second, the server writes so many records while it is a primary."""
        lasts = True

        def write() -> None:
            if lasts:
                server.write_in_bulk(records)
                self._simulation.schedule.after(BULK_EVERY_S, write)

        def end() -> None:
            nonlocal lasts
            lasts = False

        write()
        return end

    def _waive(self) -> End:
        """What its owner sets on the database is in force wherever the database is."""
        servers = [each.postgres for site in self._simulation.sites.values() for each in site.instances.values()]
        for server in servers:
            server.waived += 1

        def end() -> None:
            for server in servers:
                server.waived -= 1

        return end

    def _slow_disk(self, fault: Fault) -> End:
        store, databases = self._simulation.store, self._slow_replica(fault)
        store.disk_s[fault.where] += fault.amount

        def end() -> None:
            store.disk_s[fault.where] -= fault.amount
            databases()

        return end

    def _slow_replica(self, fault: Fault) -> End:
        """Only the databases' disk is slow, so the region keeps its vote while its replica falls behind."""
        site = self._simulation.sites[fault.where]

        def add(extra_s: float) -> None:
            for instance in site.instances.values():
                instance.postgres.disk_s = max(0.0, instance.postgres.disk_s + extra_s)

        add(fault.amount)
        return lambda: add(-fault.amount)


def _kill(instance: Instance, *, at_a_step: bool) -> End | None:
    """End an instance manager now, or in the midst of a step."""
    if not instance.process.alive:
        return None
    if at_a_step:
        instance.die_at_a_step()
        return instance.spare
    instance.die()
    return instance.restart


def _is_whole(instance: Instance) -> bool:
    """Return whether a replica can be started without the one that it was copied from."""
    hands, server = instance.hands, instance.postgres
    return hands.has_data and not hands.torn and len(server.history) >= server.consistent_lsn
