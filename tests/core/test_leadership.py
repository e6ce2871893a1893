"""The store's leader belongs to the heir, never to a primary."""

import pytest

from leeward.core import leadership
from leeward.core.values import Region, Vantage
from tests.core.views import AP, DOWN, EU, REGIONS, UP, US, seen


@pytest.mark.parametrize(
    ("leader", "me", "primaries", "fit", "to"),
    [
        pytest.param(US, US, {US}, {EU, AP}, EU, id="away from the primary, to the heir"),
        pytest.param(AP, AP, {US}, {EU, US}, EU, id="from anywhere to the heir"),
        pytest.param(EU, EU, {US}, {AP, US}, None, id="it is there"),
        pytest.param(US, US, {US}, {AP}, AP, id="the heir is not healthy: the next one"),
        pytest.param(US, US, {US}, set(), None, id="nobody is"),
        pytest.param(US, EU, {US}, {US, AP}, None, id="only the leader hands over"),
        pytest.param(US, US, {US, EU, AP}, {EU, AP}, None, id="everybody leads something"),
    ],
)
def test_where_the_leader_goes(
    leader: Region, me: Region, primaries: set[Region], fit: set[Region], to: Region | None
) -> None:
    assert leadership.move_to(leader, me, primaries, fit, REGIONS) == to


@pytest.mark.parametrize(
    ("us_sees", "eu_sees", "reaching"),
    [
        pytest.param({EU: UP}, {US: UP}, {US, EU}, id="both ways"),
        pytest.param({EU: DOWN}, {US: UP}, {US}, id="the primary does not see it"),
        pytest.param({EU: UP}, {US: DOWN}, {US}, id="it does not see the primary"),
        pytest.param({EU: UP}, {}, {US}, id="it has not looked yet"),
    ],
)
def test_who_reaches_the_primary(
    us_sees: dict[Region, Vantage], eu_sees: dict[Region, Vantage], reaching: set[Region]
) -> None:
    heard = {US: seen(US, 0, vantages=us_sees), EU: seen(EU, 0, vantages=eu_sees)}
    assert leadership.reaching({US}, heard) == reaching
