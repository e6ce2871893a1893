"""The store's leader belongs to the heir, never to a primary."""

import pytest

from leeward.core import leadership
from leeward.core.values import Region
from tests.core.views import AP, EU, REGIONS, US


@pytest.mark.parametrize(
    ("leader", "me", "primaries", "healthy", "to"),
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
    leader: Region, me: Region, primaries: set[Region], healthy: set[Region], to: Region | None
) -> None:
    assert leadership.move_to(leader, me, primaries, healthy, REGIONS) == to
