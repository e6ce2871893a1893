"""The judgement of the soak test, on gauges that are made up."""

import random

import pytest

from tests.soak.slopes import MIB, Sample, judge, report

EVERY_S = 5.0


def samples(name: str, values: list[float]) -> list[Sample]:
    return [Sample(number * EVERY_S, {name: value}) for number, value in enumerate(values)]


def grows(name: str, values: list[float]) -> bool:
    (trend,) = judge(samples(name, values))
    return not trend.flat


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        pytest.param("rq_active", [6.0] * 240, False, id="level"),
        pytest.param("rq_active", [30 + 1.0 * EVERY_S * each for each in range(24)], True, id="a tunnel a second"),
        pytest.param("fds", [50 + each // 24 for each in range(240)], True, id="one in two minutes, for 20 minutes"),
        pytest.param("rq_active", [6.0 + 4 * (each % 7 == 0) for each in range(240)], False, id="comes and goes"),
        pytest.param("fds", [50.0] * 30 + [70.0] * 210, False, id="jumps once and stays"),
        pytest.param("fds", [50.0] * 200 + [90.0] * 40, False, id="jumps late: no slope"),
        pytest.param("fds", [100.0 - each / 4 for each in range(240)], False, id="falls"),
        pytest.param("anonymous_bytes", [(100 + each / 40) * MIB for each in range(240)], False, id="6 MiB of cache"),
        pytest.param("anonymous_bytes", [(100 + each / 10) * MIB for each in range(240)], True, id="72 MiB an hour"),
        pytest.param("server.memory_allocated", [(9 + each / 10) * MIB for each in range(240)], True, id="Envoy's own"),
    ],
)
def test_what_counts_as_growth(name: str, values: list[float], expected: bool) -> None:
    assert grows(name, values) is expected


def test_a_leak_is_found_under_noise() -> None:
    generator = random.Random(8)
    noise = [generator.uniform(-3, 3) for _ in range(240)]
    assert not grows("fds", [60 + each for each in noise])
    assert grows("fds", [60 + each + number / 12 for number, each in enumerate(noise)])


def test_what_was_not_there_all_the_time_is_not_judged() -> None:
    taken = [Sample(EVERY_S * each, {"always": 1.0, **({"backend": 1.0} if each % 2 else {})}) for each in range(20)]
    assert [trend.name for trend in judge(taken)] == ["always"]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="9 samples are too few"):
        judge(samples("fds", [1.0] * 9))


def test_the_report_begins_with_the_worst() -> None:
    taken = [Sample(EVERY_S * each, {"level": 1.0, "leak": float(each)}) for each in range(24)]
    first, second = report(judge(taken)).splitlines()
    assert first.startswith("GROWS")
    assert first.endswith("leak")
    assert second.startswith("flat")
