"""Every interleaving of three regions with bounded faults keeps every promise; and one-line breaks are found.

The bounds are transitions, not seconds, so that a busy machine looks at the same worlds. LEEWARD_EXPLORE multiplies
them (`make explore`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.core import failover, lease
from leeward.core.actions import Decision
from leeward.core.values import InstanceStatus, Region
from leeward.instance.machine.values import Memory
from leeward.sim.explore import agents, managers, moves, small
from leeward.sim.explore.agents import Agents, Stepped
from leeward.sim.explore.scenes import (
    ASYNC,
    BOUNDED,
    COMPLETE,
    CUT_AND_SUCCEEDED,
    LATE_ORDER,
    ONE,
    QUORUM,
    SYNC,
    Scene,
)
from leeward.sim.explore.search import Explored, applied, fair
from leeward.sim.explore.transitions import Kinds
from leeward.sim.explore.world import Budget
from tests.sim import explore_mutations as broken
from tests.sim import mutations as known

DECISIVE = (do.OrderInstance, do.ExtendLease, do.Probe, do.SendPromise, do.Reply)
TIMES = int(os.environ.get("LEEWARD_EXPLORE", "1"))
LIMIT = 4000 * TIMES
COMPLETE_LIMIT = 100_000
MUTATION_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is broken, and where to look."""

    name: str
    apply: Callable[[pytest.MonkeyPatch], None]
    scene: Scene
    because: str
    """What the broken promise is called."""
    liveness: bool = True


def ignore_the_clocks_offset(patch: pytest.MonkeyPatch) -> None:
    def same(until_s: float, status: InstanceStatus, received_at_s: float) -> float:
        return until_s

    patch.setattr(lease, "on_instance_clock_s", same)


def hold_no_election(patch: pytest.MonkeyPatch) -> None:
    """No region is ever named."""
    patch.setattr(failover, "_elect", lambda view, topology: Decision("waiting"))


CUT = Scene("a region is cut off", ASYNC, Kinds(("isolate:us",), heals=False), ONE, ticks=8)
DIES = Scene("a region dies", ASYNC, Kinds(("crash:us",), heals=False), ONE, ticks=8)
BUSY = Kinds(("busy:us",), ("quorum",), until_tick=2, heals=False)
FAILOVER = Kinds((), ("failover",), heals=False)
MUTATIONS = (
    Mutation(
        "no lease margin",
        known.no_margin,
        Scene("", ASYNC, Kinds(("drift:us", "isolate:us"), until_tick=2, heals=False), Budget(2, 0, 0), 8),
        "deposed only when stopped",
    ),
    Mutation("the clocks' offset is ignored", ignore_the_clocks_offset, CUT, "deposed only when stopped"),
    Mutation(
        "an operator's failover does not wait",
        known.promote_before_the_old_one_stopped,
        Scene("", ASYNC, Kinds(("stall:us",), ("failover",), heals=False), Budget(1, 1, 1), 6),
        "deposed only when stopped",
    ),
    Mutation(
        "a lagging standby is promoted",
        known.promote_the_lagging,
        Scene("", SYNC, Kinds(("crash:us",), heals=False), Budget(faults=1), 8, (("lag:ap", 0), ("write", 0))),
        "no loss",
    ),
    Mutation(
        "prepare is skipped",
        known.skip_prepare,
        Scene("", QUORUM, Kinds(("lag:eu", "crash:us"), heals=False), Budget(2, 0, 1), 8),
        "a topology that may not be",
    ),
    Mutation("no region is ever named", hold_no_election, CUT, "eventually steady"),
    Mutation(
        "a switchover hands over too early",
        known.hand_over_early,
        Scene("", ASYNC, Kinds(("hang:us", "lag:eu"), ("switchover",), heals=False), Budget(1, 1, 1), 4),
        "deposed only when stopped",
    ),
    Mutation(
        "no revision is compared",
        known.no_revision_compare,
        Scene("", ASYNC, Kinds(("stall:eu", "stall:ap", "isolate:us"), until_tick=6), Budget(2, 0, 0), 9),
        "deposed only when stopped",
    ),
    Mutation(
        "R + W > N is ignored",
        known.ignore_the_quorum,
        Scene(
            "",
            QUORUM,
            Kinds(("crash:us", "hang:ap"), heals=False),
            Budget(2, 0, 0),
            8,
            (("lag:eu", 0), ("write", 1)),
        ),
        "no loss",
    ),
    Mutation(
        "standbys do not cut",
        known.standbys_do_not_cut,
        Scene("", QUORUM, FAILOVER, Budget(0, 1, 1), 6, (("stall:us", 0), ("lag:ap", 0))),
        "no loss",
    ),
    Mutation(
        "a position is promised before the cut",
        broken.promise_before_the_cut,
        Scene("", QUORUM, FAILOVER, Budget(0, 1, 1), 6, (("stall:us", 0), ("hang:eu", 0))),
        "no loss",
    ),
    Mutation("admission before the record", broken.admit_before_the_record, DIES, "the record first"),
    Mutation("admission stays open at a promotion", broken.leave_admission_open, DIES, "the record first"),
    Mutation(
        "a setting is taken for a proof",
        broken.take_the_setting_for_a_proof,
        Scene("", ASYNC, BUSY, Budget(1, 1, 1), 3),
        "on enough standbys",
    ),
    Mutation(
        "a proof outlives its names",
        broken.keep_the_proof_of_yesterday,
        Scene("", QUORUM, BUSY, Budget(1, 1, 1), 3, (("async", 3),)),
        "on enough standbys",
    ),
    Mutation("a primary without a guard", broken.leave_it_unguarded, CUT, "deposed only when stopped"),
    Mutation("a start without a lease", broken.start_without_a_lease, CUT, "eventually steady"),
    Mutation(
        "an overtaken order is accepted",
        broken.accept_any_order,
        Scene("", SYNC, Kinds(("agent-crash:us",), until_tick=2, heals=False), Budget(1, 0, 1), 2, LATE_ORDER),
        "deposed only when stopped",
        liveness=False,
    ),
    Mutation(
        "orphans are not saved",
        broken.save_no_orphans,
        Scene("", ASYNC, Kinds(()), Budget(), 3, CUT_AND_SUCCEEDED),
        "every lost write is saved",
    ),
    Mutation(
        "a rewind cut short is forgotten",
        broken.forget_a_rewind,
        Scene("", ASYNC, Kinds(("kill:us",), until_tick=4), Budget(faults=1), 5, CUT_AND_SUCCEEDED),
        "eventually steady",
    ),
)


@pytest.mark.simulation
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scene", COMPLETE, ids=lambda scene: scene.name)
def test_the_whole_of_a_small_scene_keeps_every_promise(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    found = scene.explored(limit=COMPLETE_LIMIT)
    _show(scene, found, capsys)
    assert found.broken is None, "\n".join((found.broken.because, *found.broken.trace))
    assert found.complete, f"more than {found.transitions} transitions"


@pytest.mark.simulation
@pytest.mark.timeout(1200 * TIMES)
@pytest.mark.parametrize("scene", BOUNDED, ids=lambda scene: scene.name)
def test_no_interleaving_breaks_a_promise(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    found = scene.explored(limit=LIMIT)
    _show(scene, found, capsys)
    assert found.broken is None, "\n".join((found.broken.because, *found.broken.trace))
    assert found.worlds > LIMIT / 10 or found.complete


@pytest.mark.simulation
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_break_is_found(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        mutation.apply(patch)
        found = mutation.scene.explored(limit=MUTATION_LIMIT, liveness=mutation.liveness)
    assert found.broken is not None, f"{found.worlds} worlds and no broken promise"
    with capsys.disabled():
        print(f"\n{mutation.name:40}{found.worlds:8} worlds, depth {len(found.broken.trace):3}: {found.broken.because}")
    assert found.broken.because.removeprefix("after healing: ").startswith(mutation.because)
    # The same worlds, on the code as it is.
    unbroken = mutation.scene.explored(limit=found.transitions, liveness=mutation.liveness)
    assert unbroken.broken is None, "\n".join((unbroken.broken.because, *unbroken.broken.trace))


def _show(scene: Scene, found: Explored, capsys: pytest.CaptureFixture[str]) -> None:
    bound = "all" if found.complete else f"{found.transitions} transitions"
    looked = f"{found.worlds:8} worlds, depth {found.depth:3}, tick {found.ticks:3}, {found.healed:4} healed ({bound})"
    with capsys.disabled():
        print(f"\n{scene.name:36}{scene.mode:8}{looked}")


def test_what_is_left_out_of_a_managers_memory_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that was succeeded returns and gives up its writes: with whole memories, and with canonical ones."""

    def lived() -> list[str]:
        setting, names = small.setting(ASYNC), []
        world = small.prepared(setting, small.founded(setting), CUT_AND_SUCCEEDED, Budget())
        for _ in range(120):
            move = fair(setting, world)
            names.append(move.name)
            world = applied(setting, world, move)
        return names

    def whole(memory: Memory, now_s: float) -> Memory:
        return memory

    canonical = lived()
    monkeypatch.setattr(managers, "canonical", whole)
    assert canonical == lived()
    assert "us: Rewind with eu" in canonical


def test_a_machine_that_is_put_back_into_a_state_goes_on_as_if_it_had_never_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left out of a state, or numbered alike, must decide nothing."""
    heard: list[tuple[Region, on.Event, float, tuple[do.Action, ...]]] = []
    step = Agents.step

    def listening(all_of: Agents, region: Region, state: int, event: on.Event, now_s: float) -> Stepped:
        stepped = step(all_of, region, state, event, now_s)
        heard.append((region, event, now_s, stepped.actions))
        return stepped

    monkeypatch.setattr(Agents, "step", listening)
    # Answers name the transaction, here those of both.
    monkeypatch.setattr(agents, "renumber", lambda machine: None)
    setting = small.setting(SYNC)
    world = small.founded(setting)
    for _ in range(3):
        world = applied(setting, world, next(moves.urgent(setting, world), moves.tick(setting, world)))
    never_left = {region: Machine(setting.agents.settings[region], "1") for region in small.REGIONS}
    for region, event, now_s, actions in heard:
        actions = never_left[region].handle(event, now_s, now_s)
        decisive = [action for action in actions if isinstance(action, DECISIVE)]
        assert [action for action in actions if isinstance(action, DECISIVE)] == decisive
    assert sum(isinstance(action, do.ExtendLease) for _, _, _, actions in heard for action in actions) > 3
