"""The payments service against a real PostgreSQL: idempotent, honest about the unknown, quick to recover."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.instance.instances import free_port

from .conftest import AS_IT_IS, PATIENT, QUICK_TO_DOUBT, PostgreSQL, Service, serving, until

pytestmark = pytest.mark.engine

WAITING = "from pg_stat_activity where wait_event = 'SyncRep'"


async def test_the_same_key_gives_the_same_answer(service: Service) -> None:
    first = await service.paid("key-1")
    assert await service.pay("key-1") == (200, first)
    assert await service.get(f"/api/payments/{first['id']}") == (200, first)
    assert await service.get("/api/payments?key=key-1") == (200, first)


async def test_concurrent_repetitions_make_one_payment(service: Service, postgres: PostgreSQL) -> None:
    await service.paid("warm")

    async def certain() -> tuple[int, dict[str, object]]:
        # Twelve clients share five connections: who gets none in time is told that nothing was made, and asks again.
        return await until(lambda: service.pay("key-2"), accept=lambda answer: answer[0] != 503, every_s=0)

    answers = await asyncio.gather(*(certain() for _ in range(12)))
    assert sorted(status for status, _ in answers) == [200] * 11 + [201]
    assert len({document["id"] for _, document in answers}) == 1
    assert postgres.run("select count(*), max(replays) from payments where key = 'key-2'") == [(1, 11)]


async def test_a_key_cannot_be_used_for_another_payment(service: Service) -> None:
    first = await service.paid("key-3")
    status, document = await service.pay("key-3", amount_cents=999)
    assert (status, document["code"]) == (422, "conflict")
    assert await service.get("/api/payments?key=key-3") == (200, first)


@pytest.mark.parametrize("amount", [0, -1, True, 1.5, "12", None, 10**13])
async def test_what_is_not_an_amount_is_refused(service: Service, amount: object) -> None:
    status, document = await service.pay("key-4", amount_cents=amount)
    assert (status, document["code"]) == (400, "invalid")


async def test_a_payment_needs_a_key(service: Service) -> None:
    async with service.client.post("/api/payments", json={}) as answer:
        assert answer.status == 400
        assert "Idempotency-Key" in (await answer.json())["why"]


async def test_nonsense_is_refused(service: Service) -> None:
    await service.paid("warm")
    for query in ("key=%00", "prefix=%00", "prefix=a&after=%00", f"key={'a' * 200}", "key=%ED%A0%80%01"):
        assert (await service.get(f"/api/payments?{query}"))[0] == 400, query
    for body in (b"[" * 4000, b"[]", b"null", b"9" * 4000, b"\xff", b'{"amount_cents": 1e999}', b'"\\ud800"'):
        headers = {"Idempotency-Key": "key-11"}
        async with service.client.post("/api/payments", data=body, headers=headers) as answer:
            assert answer.status == 400, body[:20]


async def test_what_does_not_exist_is_absent(service: Service) -> None:
    await service.paid("warm")
    status, document = await service.get("/api/payments/00000000-0000-4000-8000-000000000000")
    assert (status, document["code"]) == (404, "absent")
    assert (await service.get("/api/payments/nonsense"))[0] == 400
    assert (await service.get("/api/payments"))[0] == 400


async def test_the_list_has_every_payment_of_a_prefix(service: Service) -> None:
    for key in ("run-2", "run-1", "other-1"):
        await service.paid(key)
    status, document = await service.get("/api/payments?prefix=run-")
    assert status == 200
    assert [payment["key"] for payment in document["payments"]] == ["run-1", "run-2"]  # type: ignore[attr-defined]
    _, rest = await service.get("/api/payments?prefix=run-&after=run-1")
    assert [payment["key"] for payment in rest["payments"]] == ["run-2"]  # type: ignore[attr-defined]


async def test_a_commit_that_no_standby_confirms_is_unknown(service: Service, postgres: PostgreSQL) -> None:
    await service.paid("warm")
    async with serving(postgres.port, postgres.port, times=QUICK_TO_DOUBT) as doubting:
        postgres.set("synchronous_standby_names", "nobody")
        status, document = await doubting.pay("key-5")
        assert (status, document["code"]) == (504, "unknown")
        await until(lambda: not postgres.run(f"select 1 {WAITING}"))
        # The row is visible now, but still nobody holds it: a repetition may not promise it either.
        status, document = await doubting.pay("key-5")
        assert (status, document["code"]) == (504, "unknown")
    postgres.set("synchronous_standby_names", "")
    status, document = await service.pay("key-5")
    assert status == 200
    assert postgres.run("select count(*) from payments where key = 'key-5'") == [(1,)]


async def test_a_cancelled_wait_for_a_standby_is_unknown(postgres: PostgreSQL) -> None:
    # The cancellation is ours: a minute is left for it, and the service does not give up before.
    async with serving(postgres.port, postgres.port, times={**PATIENT, "store.COMMIT_TIMEOUT_S": 40}) as service:
        await service.paid("warm")
        postgres.set("synchronous_standby_names", "nobody")
        paying = asyncio.create_task(service.pay("key-6"))
        await until(lambda: postgres.run(f"select pg_cancel_backend(pid) {WAITING} and query = 'commit'"))
        status, document = await paying
    assert (status, document["code"]) == (504, "unknown")
    assert "synchronous replication" in str(document["why"])
    assert postgres.run("select count(*) from payments where key = 'key-6'") == [(1,)]


async def test_it_reconnects_when_the_server_comes_back(service: Service, postgres: PostgreSQL) -> None:
    before = await service.paid("key-7")
    postgres.stop()
    status, document = await service.pay("key-8")
    assert (status, document["code"]) == (503, "failed")
    assert (await service.get("/readyz"))[0] == 503
    postgres.start()
    # The first request finds its pooled connection dead and does not fail for that.
    assert (await service.pay("key-8"))[0] == 201
    assert await service.pay("key-7") == (200, before)
    assert (await service.get("/readyz"))[0] == 200


async def test_a_cut_connection_fails_no_request(service: Service, postgres: PostgreSQL) -> None:
    await service.paid("warm")
    ours = "from pg_stat_activity where application_name like 'payments%'"
    postgres.run(f"select pg_terminate_backend(pid) {ours}")
    await until(lambda: not postgres.run(f"select 1 {ours}"))
    assert (await service.pay("key-9"))[0] == 201


async def test_a_read_only_primary_is_a_certain_failure(service: Service, postgres: PostgreSQL) -> None:
    await service.paid("warm")
    postgres.set("default_transaction_read_only", "on")
    async with service.client.post(
        "/api/payments",
        json={"amount_cents": 1, "currency": "EUR", "account": "alice"},
        headers={"Idempotency-Key": "key-10"},
    ) as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert (await answer.json())["code"] == "failed"
    assert (await service.get("/healthz/deep"))[0] == 503
    assert (await service.get("/readyz"))[0] == 200, "reads still work"
    postgres.set("default_transaction_read_only", "off")
    assert (await service.pay("key-10"))[0] == 201


async def test_a_black_hole_never_hangs_a_request(postgres: PostgreSQL) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            writer.close()

    hole_port = free_port()
    hole = await asyncio.start_server(silent, "127.0.0.1", hole_port)
    try:
        async with serving(hole_port, postgres.port, times=AS_IT_IS) as pod:
            began_s = time.monotonic()
            status, document = await pod.pay("key-11")
            assert (status, document["code"]) == (503, "failed")
            assert time.monotonic() - began_s < 40
            # The local database answers, though within this pod's second not always.
            await pod.ready()
    finally:
        hole.close()


async def test_reads_go_on_through_the_primary_without_a_local_database(postgres: PostgreSQL) -> None:
    async with serving(postgres.port, free_port()) as pod:
        payment = await pod.paid("key-12")
        assert await pod.get(f"/api/payments/{payment['id']}") == (200, payment)
        assert (await pod.get("/readyz"))[0] == 200


async def test_deep_health_looks_at_the_certificate(postgres: PostgreSQL, tmp_path: Path) -> None:
    async with serving(postgres.port, postgres.port, {"IDENTITY_DIR": str(tmp_path)}) as pod:
        await pod.paid("key-13")
        status, document = await pod.get("/healthz/deep")
        assert status == 503
        (reason,) = document["reasons"]  # type: ignore[misc]
        assert "tls.crt" in reason


async def test_deep_health_and_metrics_of_a_sound_pod(service: Service) -> None:
    await service.paid("key-14")
    status, document = await service.get("/healthz/deep")
    assert (status, document["reasons"]) == (200, [])
    async with service.client.get("/metrics") as answer:
        assert 'payments_requests_total{outcome="created"} 1.0' in await answer.text()


async def test_it_is_small_and_stops_when_told(service: Service) -> None:
    for number in range(50):
        await service.paid(f"key-15-{number}")
    assert service.resident_kib() < 64 * 1024
    service.process.terminate()
    service.process.wait(60)
