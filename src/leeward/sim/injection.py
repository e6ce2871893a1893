"""Begins each kind of fault in a simulation, and returns what ends it."""

from collections.abc import Callable

from leeward.agent.machine import events as on
from leeward.core.values import Region, ReplicationMode
from leeward.sim import disks
from leeward.sim.database import Instance
from leeward.sim.faults import Fault, Kind
from leeward.sim.postgres import Postgres
from leeward.sim.region import PODS
from leeward.sim.simulation import Simulation

BULK_EVERY_S = 0.1


class Injection:
    """What faults do to the parts of a simulation. When they happen is the storm's business."""

    def __init__(self, simulation: Simulation, ask: Callable[[Region, Callable[[str], on.Request]], None]) -> None:
        self._simulation = simulation
        self._ask = ask
        """Lets an operator ask a region's agent for something."""
        self.restores = 0
        """How often the store went back."""
        self.disks_lost = 0

    def begin(self, fault: Fault) -> Callable[[], None] | None:
        """Start a fault; return what ends it, None when it is over already."""
        simulation, where, other = self._simulation, fault.where, fault.other
        site, app = simulation.sites[where], simulation.fleet.app
        instance = site.instances.get(app)
        match fault.kind:
            case Kind.REGION_LOSS:
                if site.dead:
                    return None
                site.kill()
                return site.restart
            case Kind.REGION_FREEZE | Kind.MACHINE_PAUSE:
                if site.dead or site.frozen:
                    return None
                site.freeze(kernel=fault.kind is Kind.MACHINE_PAUSE)
                return site.thaw
            case Kind.AGENT_KILL:
                site.kill_agent()
                return site.restart_agent
            case Kind.INSTANCE_KILL:
                if instance is None or not instance.process.alive:
                    return None
                if fault.amount:
                    instance.die_at_a_step()
                    return instance.spare
                instance.die()
                return instance.restart
            case Kind.VOLUME_LOSS | Kind.STATE_LOSS:
                return self._lose(fault, instance)
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
                return self._disturb(fault, instance)
            case Kind.DATABASE_CRASH:
                if instance is not None and instance.process.running:
                    instance.crash_database()
                return None
            case Kind.SERVICE_LOSS:
                if instance is None or not site.pods:
                    return None
                site.service(())
                return lambda: site.service(PODS)
            case Kind.SLOW_DISK:
                return self._slow_disk(fault)
            case Kind.SLOW_REPLICA:
                return self._slow_replica(fault)
            case Kind.LEADER_MOVE:
                simulation.store.move_leader(where)
                return None
            case Kind.MEMBER_KILL:
                if site.dead:
                    return None
                simulation.store.members[where].alive = False
                return lambda: None if site.dead else simulation.store.restart(where)
            case Kind.STORE_RESTORE | Kind.STORE_WIPE:
                # With a disk lost besides, no one knows any more who held what: beyond what is promised.
                return None if self.disks_lost else self._restore_store(fault)
            case Kind.AMNESIA:
                for application in simulation.applications:
                    application.writers.forgetful = True
                simulation.store.restore(fault.amount, bumped=False)
                return None
            case Kind.WATCH_STALL:
                simulation.store.stall(where, True)
                return lambda: simulation.store.stall(where, False)
            case Kind.COMPACTION:
                simulation.store.compact()
                return None
            case Kind.CLOCK_DRIFT:
                site.drift_at(fault.amount)
                return None
            case Kind.CLOCK_JUMP:
                site.wall_clock_ahead_s += fault.amount
                return None
            case Kind.SWITCHOVER:
                to = other or where
                self._ask(where, lambda name: on.SwitchoverRequested(name, app, to))
                return None
            case Kind.FAILOVER:
                to = other or where
                self._ask(where, lambda name: on.FailoverRequested(name, app, to))
                return None
            case Kind.MODE:
                mode = tuple(ReplicationMode)[int(fault.amount)]
                self._ask(where, lambda name: on.ModeRequested(name, app, mode))
                return None
            case Kind.PAUSE:
                self._ask(where, lambda name: on.PauseRequested(name, app, True))
                return lambda: self._ask(where, lambda name: on.PauseRequested(name, app, False))
            case Kind.DATA_REGIONS:
                self._change_data_regions(where, prefer=fault.amount > 0)
                return None
            case Kind.SLOW_LINK:
                return self._slow_link(fault)
            case _:
                return self._cut(fault)

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

    def _restore_store(self, fault: Fault) -> Callable[[], None]:
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

    def _lose(self, fault: Fault, instance: Instance | None) -> Callable[[], None] | None:
        """At most one disk a world is lost, and never the only one: two may be all that hold a write."""
        if instance is None or not instance.process.alive:
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
        hands = (simulation.sites[each].instances[simulation.fleet.app].hands for each in others)
        return any(each.has_data and not each.torn for each in hands)

    def _disturb(self, fault: Fault, instance: Instance | None) -> Callable[[], None] | None:
        """Let something be wrong with an instance, or how it is asked, for a while."""
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

    def _write_in_bulk(self, server: Postgres, records: int) -> Callable[[], None]:
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

    def _waive(self) -> Callable[[], None]:
        """What its owner sets on the database is in force wherever the database is."""
        servers = [
            instance.postgres for site in self._simulation.sites.values() for instance in site.instances.values()
        ]
        for server in servers:
            server.waived += 1

        def end() -> None:
            for server in servers:
                server.waived -= 1

        return end

    def _slow_disk(self, fault: Fault) -> Callable[[], None]:
        store, databases = self._simulation.store, self._slow_replica(fault)
        store.disk_s[fault.where] += fault.amount

        def end() -> None:
            store.disk_s[fault.where] -= fault.amount
            databases()

        return end

    def _slow_replica(self, fault: Fault) -> Callable[[], None]:
        """Only the databases' disk is slow, so the region keeps its vote while its replica falls behind."""
        site = self._simulation.sites[fault.where]

        def add(extra_s: float) -> None:
            for instance in site.instances.values():
                instance.postgres.disk_s = max(0.0, instance.postgres.disk_s + extra_s)

        add(fault.amount)
        return lambda: add(-fault.amount)

    def _slow_link(self, fault: Fault) -> Callable[[], None]:
        slow, links = self._simulation.network.slow, self._links(fault)
        for link in links:
            slow[link] = slow.get(link, 0.0) + fault.amount

        def end() -> None:
            for link in links:
                slow[link] = max(0.0, slow[link] - fault.amount)

        return end

    def _cut(self, fault: Fault) -> Callable[[], None]:
        network, links = self._simulation.network, self._links(fault)
        for source, target in links:
            network.cut(source, target)

        def heal() -> None:
            for source, target in links:
                network.heal(source, target)

        return heal

    def _links(self, fault: Fault) -> list[tuple[Region, Region]]:
        where = fault.where
        others = [r for r in self._simulation.fleet.regions if r != where and fault.other in (None, r)]
        outward = [(where, region) for region in others]
        return outward if fault.kind is Kind.ONE_WAY else outward + [(b, a) for a, b in outward]
