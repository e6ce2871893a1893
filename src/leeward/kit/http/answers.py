"""Error answers: 4xx with the reason, or 500 with a request number to look up in the log.

Always true: no traceback reaches a client, and none reaches the log without the number of its request.
"""

import secrets
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leeward.kit.http.questions import BadRequestError, shown

log = structlog.get_logger()

Problem = Callable[[int, str, str], web.Response]
"""Makes an answer of a status, a code and the reason."""


def new_request_id() -> str:
    """Return a new request number, which is in both the answer and the log line."""
    return secrets.token_hex(8)


def failure(request: web.Request, error: Exception) -> dict[str, str]:
    """Return the log fields of a request that failed; ``request`` is its new number."""
    return {
        "request": new_request_id(),
        "method": request.method,
        "path": shown(request.path),
        "error": type(error).__name__,
        "because": str(error),
    }


def answered(problem: Problem) -> Middleware:
    """Return the middleware that turns any error of a handler into an answer."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadRequestError as error:
            return problem(400, "bad-request", str(error))
        except web.HTTPException as error:
            return _refusal(problem, error)
        except ConnectionError:
            # The client disconnected: no answer can be sent.
            raise
        except Exception as error:
            found = failure(request, error)
            log.exception("request failed", **found)
            if request.writer.output_size > 0:
                raise ConnectionResetError("the response had already begun") from None
            return problem(500, "internal-error", f"the request failed; see the log, request {found['request']}")

    return answer


def _refusal(problem: Problem, error: web.HTTPException) -> web.Response:
    """Return an aiohttp error, such as 404, in the same form as the others."""
    reason = error.reason or "refused"
    response = problem(error.status, reason.lower().replace(" ", "-"), reason)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    if error.keep_alive is False:
        response.force_close()
    return response
