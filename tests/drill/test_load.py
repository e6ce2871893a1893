"""The client against real servers that fail on cue: it retries, moves on, and never claims too much."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from leeward.core.values import Region
from leeward.drill import load as loading
from leeward.drill.ledger import Attempt, Operation, Outcome, Row, key_outcomes, reconcile
from leeward.drill.load import GatewayChoice, Load, Population, populations, read_answer, write_answer
from leeward.drill.readback import ReadBackError, rows
from leeward.ports.clock import SystemClock
from tests.kit import waiting

from .builders import ACKED, EU, FAILED, JP, UNKNOWN, US
from .conftest import Gateway, Mood, Open

PATIENCE_S = 60.0
HURRY_S = 3.0


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        pytest.param(201, b'{"id": "x"}', ACKED, id="made"),
        pytest.param(200, b'{"id": "x"}', ACKED, id="replayed"),
        pytest.param(200, b"hello", UNKNOWN, id="an answer from another program"),
        pytest.param(503, b'{"code": "failed"}', FAILED, id="the service says failed"),
        pytest.param(503, b'{"code": "no-primary"}', FAILED, id="the gateway knows no primary"),
        pytest.param(503, b"no healthy upstream", FAILED, id="the gateway has no upstream"),
        pytest.param(503, b"upstream connect error or disconnect/reset before headers", UNKNOWN, id="reset on the way"),
        pytest.param(504, b'{"code": "unknown"}', UNKNOWN, id="the service says unknown"),
        pytest.param(504, b"upstream request timeout", UNKNOWN, id="the gateway gave up waiting"),
        pytest.param(500, b"", UNKNOWN, id="anything else"),
        pytest.param(422, b'{"code": "conflict"}', FAILED, id="refused"),
    ],
)
def test_the_outcome_of_a_write(status: int, body: bytes, outcome: Outcome) -> None:
    assert write_answer(status, {}, body).outcome is outcome


def test_the_outcome_of_a_read() -> None:
    answer = read_answer(200, {"x-served-by": "eu"}, b'{"id": "x"}')
    assert (answer.outcome, answer.payment_id, answer.served_by) == (ACKED, "x", EU)
    assert read_answer(404, {}, b'{"code": "absent"}').outcome is FAILED


def test_users_know_the_nearest_gateways_first() -> None:
    urls = {US: "u", EU: "e", JP: "j"}
    found = populations(urls, {(US, EU): 0.08, (US, JP): 0.15, (JP, EU): 0.2})
    assert {group.region: [region for region, _ in group.gateways] for group in found} == {
        US: [US, EU, JP],
        EU: [EU, US, JP],
        JP: [JP, US, EU],
    }


def test_a_failed_gateway_is_avoided_for_a_moment() -> None:
    choice = GatewayChoice(Population(US, ((US, "u"), (EU, "e"))))
    assert choice.pick(10.0) == (US, "u")
    choice.failed(US, 10.0)
    assert choice.pick(10.1) == (EU, "e")
    choice.failed(EU, 10.1)
    assert choice.pick(10.2) == (US, "u"), "all failed: the one that failed longest ago"
    assert choice.pick(10.0 + loading.AVOID_S) == (US, "u")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that answers late on a busy machine answers all the same."""
    monkeypatch.setattr(loading, "REQUEST_TIMEOUT_S", PATIENCE_S)


def all_populations(gateways: dict[Region, Gateway]) -> tuple[Population, ...]:
    return populations({region: gateway.url for region, gateway in gateways.items()}, {})


async def until(condition: Callable[[], object], load: Load) -> None:
    def look() -> object:
        load.check()
        return condition()

    await waiting.until(look, within_s=60)


def stored(gateway: Gateway) -> list[Row]:
    return [Row(key, payment) for key, payment in gateway.payments.items()]


async def test_without_faults_everything_is_acknowledged(gateways: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "KNOWN_AGE_S", 0.1)
    # Who stops waits for what is on its way, however busy the machine.
    monkeypatch.setattr(loading, "STOP_TIMEOUT_S", PATIENCE_S)
    opened = await gateways(US, EU)
    clock = SystemClock()
    async with Load(all_populations(opened), clock, prefix="t-") as load:
        for region in (US, EU):
            for operation in Operation:
                await until(lambda o=operation, r=region: load.acknowledged(o, r, since_s=0.0) >= 5, load)
    assert {attempt.outcome for attempt in load.attempts} == {ACKED}
    assert all(attempt.gateway == attempt.population == attempt.served_by for attempt in load.attempts)
    assert all(attempt.done_s >= attempt.sent_s > 0 for attempt in load.attempts)
    reconciliation = reconcile(load.attempts, stored(opened[US]))
    assert reconciliation.acknowledged == len(opened[US].payments)
    assert reconciliation.lost == reconciliation.duplicated == ()


def hurry(monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> None:
    """Do not wait for long for one gateway's answers to writes."""
    post = aiohttp.ClientSession.post

    def post_in_a_hurry(session: aiohttp.ClientSession, url: str, **options: Any) -> Any:
        if url.startswith(f"{gateway.url}/"):
            options["timeout"] = aiohttp.ClientTimeout(total=HURRY_S)
        return post(session, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "post", post_in_a_hurry)


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [(Mood.FAILS, FAILED), (Mood.FORGETS_TO_ANSWER, UNKNOWN), (Mood.CUTS, UNKNOWN), (Mood.HANGS, UNKNOWN)],
)
async def test_a_failed_write_is_retried_elsewhere_with_its_key(
    gateways: Open, mood: Mood, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await gateways(US, EU)
    opened[US].mood = mood
    if mood is Mood.HANGS:
        hurry(monkeypatch, opened[US])
    async with Load(all_populations(opened)[:1], SystemClock(), prefix="t-", writers=1, readers=0) as load:
        await until(lambda: len(opened[EU].keys) >= 3, load)
    key = opened[US].keys[0]
    first, second, *_ = [attempt for attempt in load.attempts if attempt.key == key]
    assert (first.gateway, first.outcome) == (US, outcome)
    assert (second.gateway, second.outcome) == (EU, ACKED)
    assert key_outcomes(load.attempts)[key].outcome is ACKED
    reconciliation = reconcile(load.attempts, stored(opened[US]))
    assert reconciliation.lost == reconciliation.duplicated == reconciliation.failed_present == ()


def refused(load: Load) -> list[Attempt]:
    return [attempt for attempt in load.attempts if attempt.because.startswith("not connected")]


async def test_a_lost_gateway_loses_no_payment(gateways: Open) -> None:
    opened = await gateways(US, EU)
    async with Load(all_populations(opened), SystemClock(), prefix="t-") as load:
        await until(lambda: len(opened[US].keys) >= 3, load)
        await opened[US].close()
        # What was on its way when it closed may break instead: the gateway is tried again after a while.
        await until(lambda: bool(refused(load)), load)
        before = load.acknowledged(Operation.WRITE, US, since_s=0.0)
        await until(lambda: load.acknowledged(Operation.WRITE, US, since_s=0.0) > before, load)
    assert {attempt.outcome for attempt in refused(load)} == {FAILED}
    assert reconcile(load.attempts, stored(opened[US])).lost == ()


async def test_a_write_that_never_succeeded_stays_unknown(gateways: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "GIVE_UP_S", 0.2)
    opened = await gateways(US)
    opened[US].mood = Mood.FORGETS_TO_ANSWER
    async with Load(all_populations(opened), SystemClock(), prefix="t-", writers=1, readers=0) as load:
        await until(lambda: len(set(opened[US].keys)) >= 2, load)
    reconciliation = reconcile(load.attempts, stored(opened[US]))
    assert reconciliation.acknowledged == 0
    assert len(reconciliation.unknown_present) == len(opened[US].payments)


async def test_an_interrupted_write_is_unknown_and_all_clients_stop(gateways: Open) -> None:
    opened = await gateways(US)
    opened[US].mood = Mood.HANGS
    load = Load(all_populations(opened), SystemClock(), prefix="t-", writers=1, readers=1)

    async def drill() -> None:
        async with load:
            await asyncio.sleep(60)

    task = asyncio.create_task(drill())
    await until(lambda: opened[US].keys, load)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = load.attempts
    assert (attempt.key, attempt.outcome) == (opened[US].keys[0], UNKNOWN)
    others = {t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()}
    assert not [name for name in others if name.startswith(("writer", "reader"))]


async def test_everything_is_read_back_page_by_page_from_whoever_answers(gateways: Open) -> None:
    opened = await gateways(US, EU)
    opened[US].mood = Mood.FAILS
    opened[EU].payments.update({f"t-{number:02}": f"id-{number}" for number in range(20)}, other="x")
    found = await rows([opened[US].url, opened[EU].url], "t-")
    assert found == tuple(Row(f"t-{number:02}", f"id-{number}") for number in range(20))
    with pytest.raises(ReadBackError, match="503"):
        await rows([opened[US].url], "t-")
