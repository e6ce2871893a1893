"""Refusals of the API server, worded as in Kubernetes."""

from leeward.ports.cluster import KubeObject, Resource


class ApiError(Exception):
    """A request that fails: HTTP status, CamelCase reason, and a sentence."""

    def __init__(self, code: int, reason: str, message: str, cause: KubeObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self._details = {} if cause is None else {"details": {"causes": [cause]}}

    def status(self) -> KubeObject:
        """Return the ``Status`` object that is the response's body."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
            **self._details,
        }


def _named(resource: Resource, name: str) -> str:
    kind = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return f'{kind} "{name}"'


def not_found(resource: Resource, name: str) -> ApiError:
    """Return the error for an object that does not exist."""
    return ApiError(404, "NotFound", f"{_named(resource, name)} not found")


def already_exists(resource: Resource, name: str) -> ApiError:
    """Return the error for creating an object twice."""
    return ApiError(409, "AlreadyExists", f"{_named(resource, name)} already exists")


def conflict(resource: Resource, name: str) -> ApiError:
    """Return the error for a change based on an old version."""
    because = "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(409, "Conflict", f"Operation cannot be fulfilled on {_named(resource, name)}: {because}")


def invalid(resource: Resource, name: str, because: str) -> ApiError:
    """Return the error for an object that breaks a rule."""
    return ApiError(422, "Invalid", f"{resource.kind} {name!r} is invalid: {because}")


def bad_request(message: str) -> ApiError:
    """Return the error for a request that cannot be understood."""
    return ApiError(400, "BadRequest", message)


def expired(version: int, oldest: int) -> ApiError:
    """Return the error for a history that is no longer kept."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def over_budget(budget: str) -> ApiError:
    """Return the error for an eviction that a disruption budget forbids for now."""
    because = f"The disruption budget {budget} requires more healthy pods than would be left."
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {"reason": "DisruptionBudget", "message": because},
    )
