"""What Envoy's documents are made of. Pure."""

from typing import Any

from leeward.ports.gateway import Address


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a message that carries its own type."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def tcp_address(address: Address) -> dict[str, Any]:
    """Return an address as Envoy writes it."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def seconds(duration_s: float) -> str:
    """Return a duration as Envoy writes it."""
    return f"{duration_s:g}s"


def config_source(config_dir: str, name: str, *, watched: str | None = None) -> dict[str, Any]:
    """Return a source that Envoy reads again whenever a file is moved into the directory, or into ``watched``."""
    return {
        "path_config_source": {"path": f"{config_dir}/{name}", "watched_directory": {"path": watched or config_dir}},
        "resource_api_version": "V3",
    }
