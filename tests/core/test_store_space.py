"""Who compacts, defragments and lifts the alarm, and when nobody may."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core.store_members import NO_SPACE, StoreMember
from leeward.core.store_space import PAUSE_FORGOTTEN_S, PAUSE_MAX_S, PAUSE_MIN_S, Pause, Step, step
from leeward.core.values import Region
from tests.core.views import AP, EU, REGIONS, US

MIB = 1024 * 1024
QUOTA = 256 * MIB
TIDY = StoreMember(answers=True, db_bytes=10 * MIB, in_use_bytes=8 * MIB, quota_bytes=QUOTA)
FRAGMENTED = replace(TIDY, db_bytes=80 * MIB, in_use_bytes=30 * MIB)
FULL = replace(TIDY, db_bytes=QUOTA, in_use_bytes=20 * MIB, alarms=(NO_SPACE,))
ROOMY = replace(TIDY, alarms=(NO_SPACE,))
LIVE = replace(FULL, in_use_bytes=QUOTA, tidied=True)
Members = dict[Region, StoreMember | None]


def members(us: StoreMember | None, eu: StoreMember | None, ap: StoreMember | None) -> Members:
    return {US: us, EU: eu, AP: ap}


def steps(found: Members, *, compacted: bool = True) -> dict[Region, Step]:
    """What each agent does; those that do nothing are left out."""
    each = {region: step(region, found, compacted=compacted) for region in found}
    return {region: does for region, does in each.items() if does is not Step.NOTHING}


LED = replace(FRAGMENTED, leads=True)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(members(TIDY, TIDY, TIDY), {}, id="nothing to do"),
        pytest.param(members(FRAGMENTED, TIDY, TIDY), {US: Step.DEFRAGMENT}, id="one"),
        pytest.param(members(FRAGMENTED, LED, FRAGMENTED), {AP: Step.DEFRAGMENT}, id="one at a time, by name"),
        pytest.param(members(FRAGMENTED, TIDY, LED), {US: Step.DEFRAGMENT}, id="not the leader first"),
        pytest.param(members(TIDY, TIDY, LED), {AP: Step.DEFRAGMENT}, id="the leader last"),
        pytest.param(
            members(FRAGMENTED, replace(FRAGMENTED, defragmenting=True), TIDY),
            {EU: Step.DEFRAGMENT},
            id="another one is at it",
        ),
        pytest.param(members(FRAGMENTED, replace(TIDY, answers=False), TIDY), {}, id="a member does not answer"),
        pytest.param(members(FRAGMENTED, None, TIDY), {}, id="an agent does not answer"),
        pytest.param(members(replace(FRAGMENTED, db_bytes=59 * MIB), TIDY, TIDY), {}, id="half of it is in use"),
        pytest.param(members(replace(TIDY, db_bytes=64 * MIB, in_use_bytes=MIB), TIDY, TIDY), {}, id="small"),
        pytest.param(
            members(replace(TIDY, db_bytes=200 * MIB, in_use_bytes=33 * MIB), TIDY, TIDY),
            {},
            id="the standstill would be long",
        ),
        pytest.param(members(FULL, replace(FULL, leads=True), ROOMY), {US: Step.DEFRAGMENT}, id="alarmed"),
        pytest.param(members(FULL, None, ROOMY), {US: Step.DEFRAGMENT}, id="alarmed, and a region is lost"),
        pytest.param(members(FULL, None, None), {}, id="alarmed, without a majority"),
        pytest.param(
            members(replace(FULL, in_use_bytes=120 * MIB), None, ROOMY), {US: Step.DEFRAGMENT}, id="alarmed: no limit"
        ),
        pytest.param(members(ROOMY, ROOMY, ROOMY), {AP: Step.DISARM}, id="all have room again"),
        pytest.param(members(ROOMY, ROOMY, None), {EU: Step.DISARM}, id="all that answer have room again"),
        pytest.param(
            members(replace(FULL, in_use_bytes=QUOTA), ROOMY, ROOMY),
            {US: Step.DEFRAGMENT},
            id="what is free is not known",
        ),
        pytest.param(members(LIVE, ROOMY, ROOMY), {}, id="live data fills it: no use"),
        pytest.param(
            members(replace(LIVE, db_bytes=230 * MIB), ROOMY, ROOMY), {AP: Step.DISARM}, id="live data nearly fills it"
        ),
    ],
)
def test_what_each_agent_does(found: Members, expected: dict[Region, Step]) -> None:
    assert steps(found) == expected


def test_with_an_alarm_each_agent_compacts_first() -> None:
    assert steps(members(FULL, FULL, None), compacted=False) == {US: Step.COMPACT, EU: Step.COMPACT}
    assert steps(members(FULL, FULL, TIDY), compacted=False) == {US: Step.COMPACT, EU: Step.COMPACT}, "ap knows of none"


KINDS = st.sampled_from(
    [None, TIDY, FRAGMENTED, FULL, ROOMY, replace(FRAGMENTED, defragmenting=True), replace(FULL, answers=False)]
)


@given(st.lists(KINDS, min_size=3, max_size=3), st.sampled_from([None, *REGIONS]))
def test_agents_that_see_the_same_never_defragment_two_members(
    kinds: list[StoreMember | None], leader: Region | None
) -> None:
    found: Members = dict(zip(REGIONS, kinds, strict=True))
    found = {region: member and replace(member, leads=region == leader) for region, member in found.items()}
    doing = [region for region, does in steps(found).items() if does is Step.DEFRAGMENT]
    assert len(doing) <= 1
    member = found.get(leader) if leader is not None else None
    if leader is not None and member is not None and doing == [leader]:
        tidied: Members = {**found, leader: replace(TIDY, alarms=member.alarms)}
        assert Step.DEFRAGMENT not in steps(tidied).values(), "the leader is last"


@given(st.lists(st.sampled_from([TIDY, FRAGMENTED]), min_size=3, max_size=3))
def test_two_that_announce_it_at_once_do_nothing_while_they_see_one_another(kinds: list[StoreMember]) -> None:
    found = dict(zip(REGIONS, kinds, strict=True))
    for pair in combinations(REGIONS, 2):
        announced: Mapping[Region, StoreMember | None] = {
            region: replace(member, defragmenting=region in pair) for region, member in found.items()
        }
        assert [step(region, announced, compacted=True) for region in pair] == [Step.NOTHING] * 2


def test_attempts_that_follow_one_another_pause_ever_longer_up_to_a_bound() -> None:
    pause, lengths = Pause(), []
    for _ in range(9):
        pause = pause.after(pause.until_s)
        lengths.append(pause.length_s)
    assert lengths[:3] == [PAUSE_MIN_S, 2 * PAUSE_MIN_S, 4 * PAUSE_MIN_S]
    assert lengths[-2:] == [PAUSE_MAX_S] * 2
    assert pause.after(pause.until_s + PAUSE_FORGOTTEN_S + 1).length_s == PAUSE_MIN_S
