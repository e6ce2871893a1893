"""The gateway's certificate and the authority it trusts, as secrets whose files Envoy watches. Pure."""

from typing import Any

from leeward.adapters.envoy.messages import config_source, typed
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.core.identities import CA, CERTIFICATE, KEY

IDENTITY, TRUST = "identity", "trust"
_SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"


def file(name: str) -> str:
    """Return the file of a secret; Envoy reads one from each."""
    return f"sds.{name}.json"


def source(settings: GatewaySettings, name: str) -> dict[str, Any]:
    """Return where a TLS context finds a secret."""
    return {"name": name, "sds_config": config_source(settings.config_dir, file(name))}


def identity(settings: GatewaySettings) -> dict[str, Any]:
    """Return the certificate with its key."""
    return typed(
        _SECRET,
        name=IDENTITY,
        tls_certificate={
            "certificate_chain": _file(settings, CERTIFICATE),
            "private_key": _file(settings, KEY),
            "watched_directory": {"path": settings.identity_dir},
        },
    )


def trust(settings: GatewaySettings) -> dict[str, Any]:
    """Return the authority of the other gateways."""
    return typed(
        _SECRET,
        name=TRUST,
        validation_context={
            "trusted_ca": _file(settings, CA),
            "watched_directory": {"path": settings.identity_dir},
        },
    )


def _file(settings: GatewaySettings, name: str) -> dict[str, str]:
    return {"filename": f"{settings.identity_dir}/{name}"}
