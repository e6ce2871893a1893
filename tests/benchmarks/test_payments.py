"""The arithmetic from what one pod does to what a peak takes."""

import pytest
from benchmarks.payments.measure import Capacity, Need, capacity_of_files, need

CAPACITY = Capacity(pods_max=6, cpus_of_pod=1.0, busy_at_most=0.7, connections_of_pod=5)


@pytest.mark.parametrize(
    ("cpu_ms", "held_ms", "pods", "connections", "met"),
    [
        pytest.param(1.0, 4.0, 3, 8, True, id="both suffice"),
        pytest.param(2.2, 4.0, 7, 8, False, id="too few pods"),
        pytest.param(1.0, 84.0, 3, 168, False, id="a round trip to a standby takes too many connections"),
    ],
)
def test_a_peak_takes_pods_and_connections(
    cpu_ms: float, held_ms: float, pods: int, connections: int, met: bool
) -> None:
    found = need(2000, cpu_ms, held_ms, CAPACITY)
    assert found == Need(pods, connections, pods_max=6, connections_max=30)
    assert found.met is met


def test_capacity_is_what_the_files_say() -> None:
    assert capacity_of_files() == CAPACITY
