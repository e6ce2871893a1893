"""The payments service: an ordinary web service that takes its database's failovers seriously.

A write is answered 201 (made), 200 (made before, with this key), 503 ``failed`` (certainly not made: try
again) or 504 ``unknown`` (try again with the same key to find out). It never guesses and never hangs.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn
from certificate import inspect
from pool import Pool
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from settings import POOL_SIZE, Settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from store import ConflictError, FailedError, Order, Store, UnknownError

AMOUNT_MAX_CENTS = 10**12
KEY_MAX_LENGTH = 128
BODY_MAX_BYTES = 4096
SCHEMA_RETRY_S = 0.25
LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


class InvalidError(Exception):
    """The request cannot be understood; says why, and how to mend it."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


class Service:
    """The endpoints, and what they share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._primary = Pool(settings, settings.primary, settings.pool_size)
        self._local = Pool(settings, settings.local, POOL_SIZE)
        self._store = Store(self._primary, self._local, settings.region)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "payments_requests", "Requests by what became of them.", ["outcome"], registry=self._registry
        )
        self._latency = Histogram(
            "payments_write_duration_seconds",
            "How long a POST took.",
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/api/payments", self._answered(self.create), methods=["POST"]),
                Route("/api/payments", self._answered(self.find), methods=["GET"]),
                Route("/api/payments/{payment_id}", self._answered(self.get), methods=["GET"]),
                Route("/healthz", self.alive, methods=["GET"]),
                Route("/healthz/deep", self.deep, methods=["GET"]),
                Route("/readyz", self.ready, methods=["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    async def create(self, request: Request) -> Response:
        """POST /api/payments with an Idempotency-Key."""
        began_s = time.monotonic()
        key = _key(request)
        payment, made = await self._store.pay(key, _order(await _body(request)))
        self._latency.observe(time.monotonic() - began_s)
        self._requests.labels("created" if made else "replayed").inc()
        return JSONResponse(payment.document(), status_code=201 if made else 200)

    async def get(self, request: Request) -> Response:
        """GET /api/payments/{id}."""
        try:
            payment_id = uuid.UUID(request.path_params["payment_id"])
        except ValueError:
            raise InvalidError("the id is not a UUID", "use the id from the answer to your POST") from None
        payment = await self._store.by_id(payment_id)
        self._requests.labels("read" if payment else "absent").inc()
        return JSONResponse(payment.document()) if payment else _absent(f"no payment has the id {payment_id}")

    async def find(self, request: Request) -> Response:
        """GET /api/payments?key=K, or ?prefix=P&after=KEY: the primary's list, page by page, for accounting."""
        if (key := _asked(request, "key")) is not None:
            payment = await self._store.by_key(key)
            self._requests.labels("read" if payment else "absent").inc()
            return JSONResponse(payment.document()) if payment else _absent(f"no payment has the key {key}")
        if (prefix := _asked(request, "prefix")) is not None:
            payments = await self._store.by_prefix(prefix, _asked(request, "after") or "")
            self._requests.labels("listed").inc()
            return JSONResponse({"payments": [payment.document() for payment in payments]})
        raise InvalidError("neither key nor prefix is given", "ask for /api/payments?key=KEY")

    async def alive(self, _: Request) -> Response:
        """GET /healthz: the process answers."""
        return JSONResponse({"alive": True})

    async def ready(self, _: Request) -> Response:
        """GET /readyz: some database answers reads."""
        try:
            await self._store.ready()
        except FailedError as error:
            return JSONResponse({"ready": False, "because": str(error)}, status_code=503)
        return JSONResponse({"ready": True, "because": "a database answers"})

    async def deep(self, _: Request) -> Response:
        """GET /healthz/deep: a write reaches the primary, and our certificate is valid for a while yet."""
        reasons: list[str] = []
        try:
            await self._store.test_write()
        except (FailedError, UnknownError) as error:
            reasons.append(f"test write on the primary: {error}")
        expires_in_s: float | None = None
        if self._settings.identity_dir is not None:
            # Aside: the first time a library is loaded, which would hold up every other request.
            certificate = await asyncio.to_thread(inspect, self._settings.identity_dir, time.time())
            expires_in_s = certificate.expires_in_s
            reasons += certificate.reasons
        document = {"healthy": not reasons, "reasons": reasons, "certificate_expires_in_s": expires_in_s}
        return JSONResponse(document, status_code=503 if reasons else 200)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    def _answered(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except InvalidError as error:
                response = self._problem(400, "invalid", str(error), error.fix)
            except ConflictError as error:
                response = self._problem(422, "conflict", str(error), "use a new key for a new payment")
            except FailedError as error:
                response = self._problem(503, "failed", str(error), "try again: nothing was committed")
                response.headers["retry-after"] = "1"
            except UnknownError as error:
                response = self._problem(504, "unknown", str(error), "try again with the same Idempotency-Key")
            response.headers["x-served-by"] = self._settings.region
            return response

        return answer

    def _problem(self, status: int, code: str, why: str, fix: str) -> Response:
        self._requests.labels(code).inc()
        return JSONResponse({"code": code, "why": why, "fix": fix}, status_code=status)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        schema = asyncio.create_task(self._keep_schema(), name="schema")
        try:
            yield
        finally:
            schema.cancel()
            with suppress(asyncio.CancelledError):
                await schema
            await self._primary.drop()
            await self._local.drop()

    async def _keep_schema(self) -> None:
        while True:
            await self._store.schema_missing.wait()
            try:
                await self._store.create_schema()
            except (FailedError, UnknownError):  # no primary yet, or another one by now
                await asyncio.sleep(SCHEMA_RETRY_S)


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if not 0 < len(key) <= KEY_MAX_LENGTH or not key.isprintable():
        raise InvalidError(
            f"Idempotency-Key must have 1 to {KEY_MAX_LENGTH} printable characters",
            "send a new random key with each new payment, and the same one when you repeat it",
        )
    return key


def _asked(request: Request, name: str) -> str | None:
    text = request.query_params.get(name)
    if text is not None and (len(text) > KEY_MAX_LENGTH or not text.isprintable()):
        raise InvalidError(f"{name} must have at most {KEY_MAX_LENGTH} printable characters", "ask for a key you sent")
    return text


async def _body(request: Request) -> object:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            raise InvalidError(f"the body has more than {BODY_MAX_BYTES} bytes", "send only the payment")
    try:
        return json.loads(body)
    except (RecursionError, ValueError) as error:
        raise InvalidError(f"the body is not JSON: {error}", "send a JSON object") from None


def _order(body: object) -> Order:
    match body:
        case {"amount_cents": int(amount), "currency": str(currency), "account": str(account)} if (
            type(amount) is int
            and 0 < amount <= AMOUNT_MAX_CENTS
            and re.fullmatch("[A-Z]{3}", currency)
            and 0 < len(account) <= KEY_MAX_LENGTH
            and account.isprintable()
        ):
            return Order(amount, currency, account)
    raise InvalidError(
        "the body is not a payment",
        'send {"amount_cents": 1250, "currency": "EUR", "account": "alice"} with a positive whole amount',
    )


def _absent(why: str) -> Response:
    return JSONResponse({"code": "absent", "why": why, "fix": "check the id or the key"}, status_code=404)


app = Service(Settings.from_environment()).application()
"""What ASGI servers are pointed at: ``uvicorn payments:app``."""


def main() -> None:
    """Serve until SIGTERM, on POD_IP and PORT."""
    settings = Settings.from_environment()
    uvicorn.run(
        app,
        host=settings.listen_host,
        port=settings.listen_port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
