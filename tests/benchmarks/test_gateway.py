"""The benchmark of a gateway's limits finds them, and those who keep to them are served."""

import pytest
from benchmarks.gateway.measure import (
    HONEST,
    Case,
    Outcome,
    connections_of_one,
    gateway,
    measure,
    one_address,
    uploads_of_one,
)

from leeward.adapters.envoy.settings import Limits
from leeward.core.settings import ClientLimits

FEW_REQUESTS = Limits(clients=ClientLimits(requests_per_s=20))
FEW_HELD = Limits(clients=ClientLimits(connections=100), client_requests=60)


def test_percentiles_are_of_those_that_were_served() -> None:
    outcome = Outcome()
    for number in range(1, 101):
        outcome.add(200, number / 1000)
    outcome.add(429, 5)
    assert (outcome.percentile_ms(0.5), outcome.percentile_ms(0.99), outcome.served_percent) == (51, 100, 99.01)


@pytest.mark.engine
async def test_requests_over_a_limit_are_shed_and_the_honest_are_served() -> None:
    async with gateway(FEW_REQUESTS) as us:
        found = await measure(one_address, us, 1)
    assert found.shed_per_s > 0
    assert found.within_objective


@pytest.mark.engine
@pytest.mark.parametrize(
    ("case", "limit"),
    [pytest.param(connections_of_one, 100, id="connections"), pytest.param(uploads_of_one, 60, id="uploads")],
)
async def test_what_is_held_ends_at_the_limit(case: Case, limit: int) -> None:
    async with gateway(FEW_HELD) as us:
        found = await measure(case, us, 0)
    assert limit <= found.held <= limit + HONEST
    assert found.refused > 0
