"""What instance managers do to their PostgreSQL: the machine's steps, each performed as a whole, or cut short.

Steps that concern no other region are taken at once. Before one that other regions can see, or that reads another
region, a manager waits for a transition of its own, so that anything may happen first.
"""

from typing import TYPE_CHECKING, assert_never

from leeward.core.values import Region, Role
from leeward.instance.machine import steps as do
from leeward.instance.machine.values import Duty
from leeward.sim.explore import promises
from leeward.sim.explore import server as databases
from leeward.sim.explore.managers import Instance, Looked
from leeward.sim.explore.server import RECORD, Server

if TYPE_CHECKING:
    from leeward.sim.explore.draft import Draft

VISIBLE = (do.AskNeighbours, do.Initialise, do.Promote, do.Stop, do.Compare, do.SaveOrphans, do.Rewind, do.Copy)
UNUSABLE = 10**9
STEPS_MAX = 50
"""Of one instance at once; more never end."""


def acts(draft: "Draft", region: Region) -> bool:
    """Whether there is a manager that takes steps."""
    return draft.instances[region].alive and region not in draft.faults.down


def work(draft: "Draft") -> bool:
    """Let every manager take the steps that concern no other region; True when anything changed."""
    changed = False
    for region in draft.setting.regions:
        if not acts(draft, region):
            continue
        for _ in range(STEPS_MAX):
            step = look(draft, region).step
            if step is None or draft.faults.hanging == region or visible(draft, region, step):
                break
            perform(draft, region, step)
        else:
            raise AssertionError(f"the instance in {region} takes steps without end")
        changed |= draft.report_changed(region)
    return changed


def look(draft: "Draft", region: Region) -> Looked:
    """Decide, and do what a decision entails beside its step."""
    instance = draft.instances[region]
    while True:
        looked = draft.setting.managers.look(region, instance, draft.instance_clock_s(region))
        after = instance._replace(
            mind=looked.mind, problem=looked.problem, may_write=instance.may_write or looked.guarded
        )
        if looked.prove != instance.proof:
            after = after._replace(proof=looked.prove, recorded=False, proving_lsn=None)
        after = guarded(draft, region, after)
        if after == instance:
            return looked
        instance = after
        draft.put(region, instance)


def guarded(draft: "Draft", region: Region, instance: Instance) -> Instance:
    """The guard ends PostgreSQL when its lease is over."""
    lease = instance.lease
    if not instance.may_write or (lease is not None and draft.instance_clock_s(region) < lease.until_s):
        return instance
    return draft.setting.managers.shown(stopped(instance), draft.instance_clock_s(region), stopped_by_guard=True)


def stopped(instance: Instance) -> Instance:
    """PostgreSQL has ended."""
    return Instance(
        databases.ended(instance.server),
        instance.mind,
        alive=instance.alive,
        life=instance.life,
        lease=instance.lease,
        problem=instance.problem,
    )


def visible(draft: "Draft", region: Region, step: do.Step) -> bool:
    """Whether a step concerns other regions."""
    if isinstance(step, do.Compare):
        # Whoever streams holds a part of their history, whenever that is looked at.
        return draft.instances[region].server.upstream != step.upstream
    return isinstance(step, VISIBLE) or (isinstance(step, do.Start) and not _in_recovery(draft, region, step))


def _in_recovery(draft: "Draft", region: Region, step: do.Start) -> bool:
    return step.recovery or draft.instances[region].server.recovery_signal


def possible(draft: "Draft", region: Region, step: do.Step) -> bool:
    """Whether a step can be performed now, or fail; otherwise it goes on."""
    server = draft.instances[region].server
    match step:
        case do.Stop(timeout_s=timeout_s):
            until_s, now_s = server.closing_until_s, draft.instance_clock_s(region)
            if until_s is None or now_s + timeout_s < until_s:
                return True
            return now_s >= until_s or _sent_out(draft, region)
        case do.Copy(upstream=upstream):
            return draft.readable(region, upstream)
        case do.Compare():
            # It is repeated for as long as nothing comes of it, beside a WAL receiver that tries to connect.
            instance, outcome = draft.instances[region], effect(draft, region, step)
            assert outcome is not None, "a comparison ends at once"
            now_s = draft.instance_clock_s(region)
            return draft.setting.managers.learn(instance, step, outcome, now_s) != instance
        case _:
            return True


def perform(draft: "Draft", region: Region, step: do.Step) -> None:
    """Perform a step, and let the manager take in how it ended."""
    outcome = effect(draft, region, step)
    if outcome is not None:
        now_s = draft.instance_clock_s(region)
        draft.put(region, draft.setting.managers.learn(draft.instances[region], step, outcome, now_s))


def effect(draft: "Draft", region: Region, step: do.Step) -> do.Outcome | None:
    """Do what a step does to PostgreSQL; None: it goes on."""
    server = draft.instances[region].server
    match step:
        case do.AskNeighbours():
            others = (other for other in draft.setting.regions if other != region)
            return do.NeighboursAnswered(tuple((other, _has_data(draft, region, other)) for other in others))
        case do.Compare(upstream=upstream):
            if not server.answers or not draft.readable(region, upstream):
                return do.Failed("it does not answer")
            return do.Compared(databases.lineage(server), databases.lineage(draft.instances[upstream].server))
        case do.ReadEnd():
            return do.EndRead(len(server.history))
        case do.Stop(timeout_s=timeout_s):
            return _stop(draft, region, timeout_s)
        case do.SaveOrphans(fork_lsn=fork_lsn):
            return _save_orphans(draft, region, fork_lsn)
        case do.Rewind(upstream=upstream) | do.Copy(upstream=upstream):
            return _transfer(draft, region, upstream, whole=isinstance(step, do.Copy))
        case do.Configure(duty=duty) | do.Cut(duty=duty):
            _configure(draft, region, duty, closed=isinstance(step, do.Configure) and not duty.admits)
        case do.Initialise() | do.Start() | do.Kill() | do.Promote() | do.CloseAdmission():
            _change_server(draft, region, step)
        case do.Checkpoint() | do.FreeReplay() | do.ProvideSlots() | do.KeepData():
            pass
        case do.SetAside():
            raise AssertionError("no state is lost here")
        case _:
            assert_never(step)
    return do.Done()


def _change_server(
    draft: "Draft", region: Region, step: do.Initialise | do.Start | do.Kill | do.Promote | do.CloseAdmission
) -> None:
    """Create, start, end or promote PostgreSQL, or end the application's sessions."""
    instance = draft.instances[region]
    server = instance.server
    match step:
        case do.Initialise():
            draft.put(region, instance._replace(server=databases.initialised(server, region)))
        case do.Start(duty=duty, recovery=recovery):
            server = databases.started(server, duty, recovery=recovery)
            draft.put(region, instance._replace(server=server, duty=duty, closed=not duty.admits))
        case do.Kill():
            draft.put(region, stopped(instance))
        case do.Promote():
            draft.put(region, instance._replace(server=databases.promoted(server, region)))
        case do.CloseAdmission():
            draft.put(region, instance._replace(server=server._replace(admits=False, waiting=()), closed=True))


def cut_short(draft: "Draft", region: Region, step: do.Step) -> None:
    """Do a step whose end the manager does not live to see; of a rewind, a part: the data is of no use then."""
    effect(draft, region, step)
    if isinstance(step, do.Rewind):
        instance = draft.instances[region]
        draft.put(region, instance._replace(server=instance.server._replace(consistent_lsn=UNUSABLE)))


def _configure(draft: "Draft", region: Region, duty: Duty, *, closed: bool) -> None:
    instance = draft.instances[region]
    server = databases.configured(instance.server, duty, busy=draft.faults.busy == region)
    draft.put(region, instance._replace(server=server, duty=duty, closed=instance.closed and closed))


def _stop(draft: "Draft", region: Region, timeout_s: float) -> do.Outcome | None:
    """Stop cleanly: sessions end, standbys get the rest."""
    instance, now_s = draft.instances[region], draft.instance_clock_s(region)
    until_s = instance.server.closing_until_s
    until_s = now_s + timeout_s if until_s is None else min(until_s, now_s + timeout_s)
    if _sent_out(draft, region) or now_s >= until_s:
        draft.put(region, stopped(instance))
        return do.Done()
    draft.put(region, instance._replace(server=instance.server._replace(closing_until_s=until_s, waiting=())))
    return None


def _save_orphans(draft: "Draft", region: Region, fork_lsn: int) -> do.OrphansSaved:
    instance = draft.instances[region]
    server = instance.server
    lost = {(entry.epoch, entry.write) for entry in server.history[fork_lsn:] if entry.write > RECORD}
    draft.put(region, instance._replace(server=server._replace(saved=server.saved | lost)))
    return do.OrphansSaved(len(lost))


def _transfer(draft: "Draft", region: Region, upstream: Region, *, whole: bool) -> do.Outcome:
    """Rewind to an upstream's history, or copy it. What this loses must be saved, or be elsewhere."""
    if not draft.readable(region, upstream):
        return do.Failed("it does not answer")
    instance, theirs = draft.instances[region], draft.instances[upstream].server.history
    held = len(theirs) if whole else databases.common(instance.server.history, theirs)
    server = instance.server._replace(history=theirs[:held], recovery_signal=True, consistent_lsn=len(theirs))
    draft.put(region, instance._replace(server=server))
    promises.saved(draft, region)
    return do.Copied(held)


def _sent_out(draft: "Draft", region: Region) -> bool:
    """Whether every standby that streams has everything."""
    length = len(draft.instances[region].server.history)
    followers = (other.server for other in draft.instances.values() if other.server.upstream == region)
    return all(len(server.history) == length for server in followers)


def _has_data(draft: "Draft", region: Region, other: Region) -> bool | None:
    if not draft.faults.linked(region, other):
        return None
    return draft.instances[other].server.role is not Role.STOPPED


# -- what happens beside the steps -----------------------------------------------------------------


def connectable(draft: "Draft", region: Region) -> Region | None:
    """Return the upstream that would let a standby stream now."""
    server = draft.instances[region].server
    if server.role is not Role.STANDBY or server.follows is None or server.upstream is not None:
        return None
    if not draft.readable(region, server.follows):
        return None
    source = draft.instances[server.follows].server
    # Who forked off, and who is ahead, is refused.
    part = databases.common(server.history, source.history) == len(server.history)
    return server.follows if source.answers and part else None


def proving(draft: "Draft", region: Region) -> str | None:
    """Return what a primary does next to show that it leads; None: nothing, or it waits for others."""
    instance = draft.instances[region]
    server, proof = instance.server, instance.proof
    if proof is None or server.role is not Role.PRIMARY or server.closing_until_s is not None:
        return None
    if not instance.recorded:
        return f"{region} writes the record of epoch {proof.epoch}"
    waits = proof.synchronous is None or (server.waits and server.names == proof.synchronous)
    return f"{region} commits to see it wait" if instance.proving_lsn is None and waits else None


def prove(draft: "Draft", region: Region) -> None:
    """Write the record of the epoch, which is visible at once; then commit something that has to wait."""
    managers, instance, now_s = draft.setting.managers, draft.instances[region], draft.instance_clock_s(region)
    proof = instance.proof
    assert proof is not None, "there is something to show"
    if not instance.recorded:
        server = databases.written(instance.server, RECORD, proof.epoch)
        instance = managers.shown(instance, now_s, recorded_epoch=proof.epoch)
        draft.put(region, instance._replace(server=server, recorded=True))
        return
    if proof.synchronous is not None:
        instance = managers.shown(instance, now_s, waited=proof)
    draft.put(region, instance._replace(proving_lsn=len(instance.server.history)))


def settle_commits(draft: "Draft") -> None:
    """Let commits return whose acknowledgements are there."""
    servers: dict[Region, Server] = {region: each.server for region, each in draft.instances.items()}
    for region in draft.setting.regions:
        instance = draft.instances[region]
        server, proof = instance.server, instance.proof
        if server.role is not Role.PRIMARY or not (server.waiting or instance.proving_lsn is not None):
            continue
        reached = databases.acknowledged_lsn(region, servers)
        done = tuple(lsn for lsn in server.waiting if lsn <= reached)
        if done:
            waiting = tuple(lsn for lsn in server.waiting if lsn > reached)
            instance = instance._replace(server=server._replace(waiting=waiting))
        if proof is not None and instance.proving_lsn is not None and instance.proving_lsn <= reached:
            now_s = draft.instance_clock_s(region)
            instance = draft.setting.managers.shown(instance, now_s, proved_epoch=proof.epoch)
            instance = instance._replace(proving_lsn=None, proof=None)
        draft.put(region, instance)
        for lsn in done:
            promises.acknowledged(draft, region, lsn)
