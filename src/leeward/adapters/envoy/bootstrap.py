"""Envoy's bootstrap: its administration, its limits, and where to find everything else."""

import shlex
from typing import Any

from leeward.adapters.envoy import admin
from leeward.adapters.envoy.messages import config_source
from leeward.adapters.envoy.overload import overload_manager
from leeward.adapters.envoy.settings import GatewaySettings

LISTENERS_FILE = "lds.json"
CLUSTERS_FILE = "cds.json"
_LISTENERS_DIR = "listeners"
LISTENERS_CHANGED = f"{_LISTENERS_DIR}/changed"
"""Moved into place after a change of the listeners. They are by far the longest, and Envoy reads whatever it watches a
directory for again when any file of that directory has changed."""


def bootstrap(settings: GatewaySettings) -> dict[str, Any]:
    """Return Envoy's bootstrap document. Its two files must exist when Envoy starts: see ``command``."""
    return {
        "node": {"id": f"gateway.{settings.region}", "cluster": str(settings.region)},
        "admin": admin.administration(settings),
        "static_resources": {"listeners": [admin.listener(settings)], "clusters": [admin.cluster(settings)]},
        # The default, 100, refuses an expression for a path of a dozen letters, and with it every route.
        "layered_runtime": {
            "layers": [{"name": "limits", "static_layer": {"re2": {"max_program_size": {"error_level": 10_000}}}}]
        },
        "overload_manager": overload_manager(settings.limits),
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
        "dynamic_resources": {
            "lds_config": config_source(
                settings.config_dir,
                LISTENERS_FILE,
                watched=f"{settings.config_dir}/{_LISTENERS_DIR}",
            ),
            "cds_config": config_source(settings.config_dir, CLUSTERS_FILE),
        },
    }


def command(settings: GatewaySettings, bootstrap_file: str, *, envoy: str = "envoy") -> tuple[str, ...]:
    """Return the command line of the gateway's container.

    Envoy refuses to start while a file it is to watch is missing, and the agent may come later: so the shell
    first makes empty ones, never over the agent's (noclobber), and becomes Envoy, with as many descriptors as the
    kernel allows it. A drain time of zero closes connections of the replaced primary route at once; nothing else is
    ever drained.
    """
    directory = shlex.quote(settings.config_dir)
    empty = "; ".join(
        f"{{ echo '{{}}' > {directory}/{name}; }} 2>/dev/null" for name in (LISTENERS_FILE, CLUSTERS_FILE)
    )
    watched = f"{directory}/{_LISTENERS_DIR}"
    script = f'mkdir -p {watched} && set -C && {{ {empty}; ulimit -n "$(ulimit -H -n)"; exec "$0" "$@"; }}'
    options = "--concurrency 1 --disable-hot-restart --drain-time-s 0 --drain-strategy immediate --log-level warn"
    return ("/bin/sh", "-c", script, envoy, "-c", bootstrap_file, *options.split())
