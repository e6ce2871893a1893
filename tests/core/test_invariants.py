"""What no topology may be, and no step from one to the next: each invariant, kept and broken."""

from dataclasses import replace

import pytest

from leeward.core import invariants
from leeward.core.values import App, Phase, ReplicationMode, Topology
from tests.core.views import AP, EU, US

STEADY = Topology(
    app=App("payments"),
    epoch=7,
    phase=Phase.STEADY,
    primary=US,
    data_regions=(US, EU, AP),
    mode=ReplicationMode.QUORUM,
    acks_required=1,
    because="it serves",
)
ELECTING = replace(STEADY, epoch=8, phase=Phase.ELECTING, primary=None, deposed=US, deposed_epoch=7)
PROMOTING = replace(ELECTING, phase=Phase.PROMOTING, primary=EU)
SWITCHING = replace(STEADY, phase=Phase.SWITCHING, target=EU)
HANDED_OVER = replace(PROMOTING, deposed=US, handover_lsn=900)
FOUNDING = replace(STEADY, epoch=1, phase=Phase.PROMOTING)
JOINING = replace(STEADY, data_regions=(US, EU), acks_required=1, joining=AP)
JOINT = replace(JOINING, joint=True, joint_lsn=500)
LEAVING = replace(STEADY, leaving=AP, joint=True)
LEFT = replace(STEADY, data_regions=(US, EU))
RECOVERING = replace(ELECTING, epoch=1008, generation="restored", recovering=True)

KEPT = [
    pytest.param(None, FOUNDING, id="an application is founded"),
    pytest.param(FOUNDING, replace(FOUNDING, phase=Phase.STEADY), id="its first primary is steady"),
    pytest.param(STEADY, ELECTING, id="a primary is lost"),
    pytest.param(ELECTING, PROMOTING, id="another one is elected"),
    pytest.param(PROMOTING, replace(PROMOTING, phase=Phase.STEADY), id="it is steady"),
    pytest.param(PROMOTING, replace(ELECTING, epoch=9, deposed=EU), id="it is lost, too"),
    pytest.param(STEADY, SWITCHING, id="a switchover begins"),
    pytest.param(SWITCHING, HANDED_OVER, id="the target takes over"),
    pytest.param(SWITCHING, STEADY, id="a switchover is cancelled"),
    pytest.param(SWITCHING, ELECTING, id="a primary is lost in a switchover"),
    pytest.param(STEADY, replace(STEADY, paused=True), id="an operator pauses failover"),
    pytest.param(STEADY, replace(STEADY, mode=ReplicationMode.ASYNC, acks_required=0), id="a mode changes"),
    pytest.param(LEFT, JOINING, id="a region joins"),
    pytest.param(JOINT, STEADY, id="a region has joined"),
    pytest.param(replace(LEAVING, joint_lsn=500), LEFT, id="a region has left"),
    pytest.param(STEADY, RECOVERING, id="the store went back"),
    pytest.param(None, RECOVERING, id="the store was lost"),
    pytest.param(replace(RECOVERING, epoch=2000, generation="a"), RECOVERING, id="it went back again, further"),
]
BROKEN = [
    pytest.param("epochs_never_fall", STEADY, replace(ELECTING, epoch=6), id="an epoch falls"),
    pytest.param("phases_follow_the_protocol", STEADY, replace(STEADY, epoch=8), id="an epoch begins steady"),
    pytest.param("phases_follow_the_protocol", ELECTING, replace(PROMOTING, phase=Phase.STEADY), id="not promoted"),
    pytest.param("phases_follow_the_protocol", STEADY, replace(ELECTING, epoch=7), id="an election in the same epoch"),
    pytest.param("phases_follow_the_protocol", ELECTING, replace(PROMOTING, epoch=9), id="promises of another epoch"),
    pytest.param("phases_follow_the_protocol", None, STEADY, id="nothing was founded"),
    pytest.param("only_elections_lack_a_primary", None, replace(ELECTING, primary=US), id="an election with a primary"),
    pytest.param("only_elections_lack_a_primary", STEADY, replace(STEADY, primary=None), id="steady without a primary"),
    pytest.param("an_epoch_has_one_primary", STEADY, replace(STEADY, primary=EU), id="a primary is exchanged"),
    pytest.param("primaries_have_replicas", None, replace(FOUNDING, data_regions=(EU, AP)), id="nothing to write to"),
    pytest.param("primaries_have_replicas", LEFT, replace(SWITCHING, data_regions=(US,), target=EU), id="no target"),
    pytest.param(
        "a_switchover_hands_over_what_was_written",
        SWITCHING,
        replace(HANDED_OVER, handover_lsn=None),
        id="a switchover without an end of WAL",
    ),
    pytest.param(
        "a_switchover_hands_over_what_was_written", SWITCHING, replace(HANDED_OVER, primary=AP), id="another target"
    ),
    pytest.param("data_regions_change_one_at_a_time", STEADY, replace(STEADY, data_regions=(US,)), id="two leave"),
    pytest.param(
        "data_regions_change_one_at_a_time", STEADY, LEFT, id="a region leaves before commits keep both rules"
    ),
    pytest.param(
        "data_regions_change_one_at_a_time", JOINT, replace(ELECTING, data_regions=(US, EU, AP)), id="in an election"
    ),
    pytest.param("changes_of_data_regions_are_sound", STEADY, replace(STEADY, joining=AP), id="it has joined already"),
    pytest.param("changes_of_data_regions_are_sound", LEFT, replace(LEFT, leaving=AP), id="it has left already"),
    pytest.param("changes_of_data_regions_are_sound", JOINING, replace(JOINING, leaving=EU), id="two changes at once"),
    pytest.param("changes_of_data_regions_are_sound", STEADY, replace(STEADY, joint=True), id="two rules for nothing"),
    pytest.param(
        "changes_of_data_regions_are_sound", LEAVING, replace(ELECTING, leaving=AP, joint=True), id="in doubt"
    ),
    pytest.param("acknowledgements_are_of_the_mode", STEADY, replace(STEADY, acks_required=0), id="too few"),
    pytest.param("acknowledgements_are_of_the_mode", ELECTING, replace(PROMOTING, acks_required=2), id="too many"),
    pytest.param(
        "promises_change_under_a_steady_primary",
        STEADY,
        replace(ELECTING, mode=ReplicationMode.ASYNC, acks_required=0),
        id="a promise is forgotten",
    ),
    pytest.param(
        "generations_begin_with_an_election", STEADY, replace(STEADY, generation="restored"), id="a history goes on"
    ),
]


@pytest.mark.parametrize(("before", "after"), KEPT)
def test_a_step_of_the_protocol_breaks_nothing(before: Topology | None, after: Topology) -> None:
    assert invariants.broken(before, after) is None


@pytest.mark.parametrize(("name", "before", "after"), BROKEN)
def test_a_step_that_may_not_be(name: str, before: Topology | None, after: Topology) -> None:
    invariant = {each.__name__: each for each in invariants.INVARIANTS}[name]
    assert list(invariant(before, after))
    assert invariants.broken(before, after)


def test_what_a_topology_breaks_already_does_not_keep_it_from_failing_over() -> None:
    edited = replace(STEADY, acks_required=2)
    assert invariants.broken(None, replace(FOUNDING, acks_required=2))
    assert invariants.broken(edited, replace(ELECTING, acks_required=2)) is None
    assert invariants.broken(edited, replace(edited, primary=EU)), "but from nothing else"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(replace(STEADY, acks_required=2), replace(STEADY, acks_required=0), id="too many become too few"),
        pytest.param(
            replace(STEADY, acks_required=2), replace(STEADY, acks_required=3), id="too many become even more"
        ),
        pytest.param(
            replace(JOINING, data_regions=(US, EU, AP)),
            replace(JOINING, data_regions=(US, EU, AP), joint=True, leaving=EU),
            id="a second change begins",
        ),
        pytest.param(
            replace(SWITCHING, data_regions=(EU,)),
            replace(SWITCHING, data_regions=(EU,), target=AP),
            id="another region without a replica is named",
        ),
    ],
)
def test_what_a_step_adds_to_what_is_broken_already_is_found(before: Topology, after: Topology) -> None:
    assert invariants.broken(before, after)


def test_a_break_that_another_one_hid_was_there_before() -> None:
    edited = replace(JOINING, data_regions=(US, EU, AP), leaving=EU)
    assert invariants.broken(edited, replace(ELECTING, joining=AP)) is None


def test_every_invariant_is_broken_by_some_step() -> None:
    assert {parameters.values[0] for parameters in BROKEN} == {each.__name__ for each in invariants.INVARIANTS}
