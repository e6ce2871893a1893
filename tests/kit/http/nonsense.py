"""What hostile clients send: requests as bytes, so that no library repairs them, and a server for them."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_from_bytes

from aiohttp import web
from hypothesis import strategies as st
from structlog.testing import capture_logs

from leeward.kit.http.serving import one_line_logger

TIMEOUT_S = 30
EXAMPLES = int(os.environ.get("LEEWARD_NONSENSE_EXAMPLES", "30"))
"""Of each kind: all together take seconds. More: LEEWARD_NONSENSE_EXAMPLES=1000."""

HOSTILE_BODIES = [
    b"[]",
    b"null",
    b"1",
    b'""',
    b"{",
    b"{}",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"[" * 300 + b"]" * 300,
    b"9" * 5000,
    b"-1e999",
    b"NaN",
    b'{"to":null}',
    b'{"to":["a"]}',
    b'{"to":"\\ud800"}',
    b'{"to":"us","dry_run":"yes"}',
    b'{"mode":{}}',
    b'{"mode":[1]}',
    '{"to": "us"}'.encode("utf-16"),
    '{"to": "us"}'.encode("utf-8-sig"),
]
HOSTILE_NUMBERS = [
    "abc",
    "",
    "-1",
    "1e9",
    "1_0",
    " 1",
    "+1",
    "²",
    "٣",
    "nan",
    "inf",
    "9" * 30,
    "9" * 5000,
    "0x1",
    "1\n",
]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "us", "postgres", "", "a" * 300, "10%"]),
)


def documents(keys: Iterable[str]) -> st.SearchStrategy[Any]:
    """JSON of any shape, in which these keys are more frequent than others."""
    names = st.one_of(st.sampled_from(sorted(keys)), st.text(max_size=8))
    return st.recursive(
        SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5))
    )


def changed(valid: Any, keys: Iterable[str]) -> st.SearchStrategy[Any]:
    """A valid document with something else in one place, or without something."""
    strange = documents(keys)

    def one_off(value: Any) -> st.SearchStrategy[Any]:
        if isinstance(value, dict) and value:
            return st.one_of(
                strange,
                st.sampled_from(sorted(value)).flatmap(
                    lambda key: st.one_of(
                        one_off(value[key]).map(lambda new: {**value, key: new}),
                        st.just({each: value[each] for each in value if each != key}),
                    )
                ),
            )
        if isinstance(value, list) and value:
            return st.one_of(strange, one_off(value[0]).map(lambda new: [new, *value[1:]]))
        return strange

    return one_off(valid)


def bodies(valid: Any, keys: Iterable[str]) -> st.SearchStrategy[bytes]:
    """Bytes, hostile JSON, JSON of any shape, and JSON that is almost right."""
    known = set(keys)
    return st.one_of(
        st.sampled_from(HOSTILE_BODIES),
        st.binary(max_size=200),
        documents(known).map(written),
        changed(valid, known).map(written),
        st.just(written(valid)),
    )


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def queries(keys: Iterable[str]) -> st.SearchStrategy[str]:
    """Query strings with these keys."""
    values = st.one_of(
        st.sampled_from(HOSTILE_NUMBERS).map(lambda text: quote(text, safe="")),
        st.text(max_size=12).map(lambda text: quote(text, safe="", errors="replace")),
        st.binary(max_size=12).map(lambda raw: quote_from_bytes(raw, safe="")),
        st.integers(-(10**30), 10**30).map(str),
    )
    pairs = st.tuples(st.sampled_from(sorted(keys)), values).map("=".join)
    return st.lists(pairs, max_size=3).map("&".join).map(lambda text: f"?{text}" if text else "")


HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Accept", "Expect", "Content-Encoding", "X-Leeward-Forwarded", "Range", "Cookie"]),
    st.one_of(
        st.sampled_from(
            ["application/json", "text/html", "application/json; charset=x", "gzip", "deflate", "100-continue"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    ),
    max_size=3,
)


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    head: str
    body: bytes


def request(method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


async def exchange(port: int, raw: bytes, *, timeout_s: float = TIMEOUT_S) -> Answered:
    """Send these bytes and return the answer; status 0 when there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(raw)
            answer = await reader.read()
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        head, _, body = body.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return Answered(int(words[1]) if len(words) > 1 else 0, head.decode("latin-1"), body)


class Target:
    """A server in this process, without TLS, and a loop for it."""

    def __init__(self, loop: asyncio.Runner, port: int) -> None:
        self.loop = loop
        self.port = port

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answered:
        """Ask, and check what holds of every answer."""
        return self.send(request(method, target, body, headers))

    def send(self, raw: bytes) -> Answered:
        with capture_logs() as logs:
            answer = self.loop.run(exchange(self.port, raw))
        failures = [line for line in logs if line["event"] == "request failed"]
        assert failures == [], "an internal error"
        assert 200 <= answer.status < 500, (answer, logs)
        assert b"Traceback" not in answer.body
        assert b'File "' not in answer.body
        return answer


async def serve(app: web.Application) -> tuple[int, Callable[[], Awaitable[None]]]:
    """Serve without TLS; return the port and what ends it."""
    logger = one_line_logger()
    runner = web.AppRunner(
        app, access_log=None, auto_decompress=False, lingering_time=0.1, logger=logger, shutdown_timeout=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1], runner.cleanup


def endpoints(app: web.Application) -> set[tuple[str, str]]:
    """What an application serves: a test must know all of it."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
