"""What Envoy does before it runs out of memory or of connections. Pure.

Users' connections have a limit of their own: a user that opens too many shuts out other users, but neither replication
nor the sessions of databases, which go through the same Envoy.
"""

from typing import Any

from leeward.adapters.envoy.messages import typed
from leeward.adapters.envoy.settings import Limits

_HEAP = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
# Parts of the heap's limit.
TIGHT, FULL = 0.8, 0.95
_IDLE_MIN = "2s"


def overload_manager(limits: Limits) -> dict[str, Any]:
    """Return the part of the bootstrap document that names the limits and what happens at each."""
    heap = typed(
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=limits.heap_bytes
    )
    connections = typed(
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=limits.connections_max,
    )
    shorter = typed(
        "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        # Not that of streams: a tunnel of a database is one, and may be silent for a day.
        timer_scale_factors=[{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": _IDLE_MIN}],
    )
    scaled = {"scaled": {"scaling_threshold": TIGHT, "saturation_threshold": FULL}}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": _HEAP, "typed_config": heap},
            {"name": _CONNECTIONS, "typed_config": connections},
        ],
        "actions": [
            _action("shrink_heap", {"threshold": {"value": TIGHT}}),
            {**_action("reduce_timeouts", scaled), "typed_config": shorter},
            _action("stop_accepting_requests", {"threshold": {"value": FULL}}),
        ],
    }


def _action(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}
