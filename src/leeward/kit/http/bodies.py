"""How many bodies are read at a time, how large they are, and how long each may take.

Always true: a body is read whole before its handler runs, so no handler waits for a client that sends slowly.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leeward.core.connections import client_of
from leeward.kit.http.answers import Problem


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """A server's limits. A request over a limit gets an answer, and its connection is closed."""

    size_max: int
    """Bytes."""
    read_s: float = 5.0
    """For all of one."""
    in_all: int = 64
    """Bodies that are being read at the same time."""
    per_client: int = 16
    """Of these from one address."""


def bounded(limits: BodyLimits, problem: Problem) -> Middleware:
    """Return the middleware that reads each request's body within the limits: 413, 429 or 408 beyond them."""
    reading: Counter[str] = Counter()

    def refused(status: int, code: str, because: str) -> web.Response:
        response = problem(status, code, because)
        response.force_close()
        return response

    @web.middleware
    async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.can_read_body:
            return await handler(request)
        if (request.content_length or 0) > limits.size_max:
            return refused(413, "body-too-large", f"the body is larger than {limits.size_max} bytes")
        client = client_of(request.remote) if request.remote else ""
        if reading.total() >= limits.in_all or reading[client] >= limits.per_client:
            response = refused(429, "too-many-bodies", "too many request bodies are being received; try again")
            response.headers["Retry-After"] = "1"
            return response
        reading[client] += 1
        try:
            async with asyncio.timeout(limits.read_s):
                await request.read()
        except TimeoutError:
            return refused(408, "body-too-slow", f"the body did not arrive within {limits.read_s:g} s")
        except web.HTTPRequestEntityTooLarge:
            return refused(413, "body-too-large", f"the body is larger than {limits.size_max} bytes")
        except web.RequestPayloadError as error:
            return refused(400, "bad-request", f"the body cannot be read: {error}")
        finally:
            reading[client] -= 1
            if not reading[client]:
                del reading[client]
        return await handler(request)

    return bound
