"""Secrets by reference: what is needed, and where an operator reads it. Never a value.

With ``secrets: {by: sealed}`` SealedSecrets that stand beside the Fleet take the references' places (``sealed.py``).
"""

from collections.abc import Mapping

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.region.identity import (
    IDENTITY_KEYS,
    METRICS_SECRET,
    OWNER_PASSWORD_KEY,
    REPLICATION_PASSWORD_KEY,
    SYSTEM_SECRETS,
    database_secret,
    has_instance,
    instance_secret,
    operator_secrets,
)
from leeward.compile.site import Site
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core.identities import CERTIFICATE, KEY
from leeward.spec.application import Application
from leeward.spec.platform import SecretsBy


def secrets(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with references to the application's secrets."""
    if site.fleet.secrets.by is SecretsBy.ELSEWHERE:
        return items
    app, namespace = application.metadata.name, application.namespace
    # Where no instance manager runs, the service checks the certificate all the same, and nothing needs the key.
    own: tuple[str, ...] = IDENTITY_KEYS if site.home and has_instance(application) else (CERTIFICATE,)
    result = [_identity(site, instance_secret(app), namespace, app, f"{app}/identity/{site.region.name}", own)]
    passwords = {key: (f"{app}/database", key) for key in (OWNER_PASSWORD_KEY, REPLICATION_PASSWORD_KEY)}
    result.append(external_secret(site, database_secret(app), namespace, app, passwords))
    result.append(
        external_secret(site, f"{app}-tls", namespace, app, {key: (f"{app}/tls", key) for key in (CERTIFICATE, KEY)})
    )
    operators = operator_secrets(site.spec, application, site.region.name) if site.home else {}
    for name, keys in operators.items():
        remote = f"{app}/{name.removeprefix(f'{app}-')}"
        result.append(external_secret(site, name, namespace, app, {key: (remote, key) for key in keys}))
    by_name: dict[str, dict[str, tuple[str, str]]] = {}
    for variable in application.spec.service.secrets:
        remote = variable.remote or f"{app}/{variable.secret}"
        by_name.setdefault(variable.secret, {})[variable.key] = (remote, variable.key)
    result += [external_secret(site, name, namespace, app, keys) for name, keys in by_name.items()]
    return [*items, *result]


def system_secrets(site: Site) -> list[KubeObject]:
    """Return the references to the identities of Leeward's own pods, and to that of Prometheus where it asks them."""
    if site.fleet.secrets.by is SecretsBy.ELSEWHERE or not site.home:
        return []
    wanted = {**SYSTEM_SECRETS, **({METRICS_SECRET: IDENTITY_KEYS} if site.fleet.monitoring is not None else {})}
    remote = f"identity/{site.region.name}"
    return [
        _identity(site, name, SYSTEM_NAMESPACE, "leeward", f"{remote}/{name.removeprefix('leeward-')}", keys)
        for name, keys in wanted.items()
    ]


def external_secret(
    site: Site, name: str, namespace: str, part_of: str, keys: Mapping[str, tuple[str, str]]
) -> KubeObject:
    """Return a reference: each key of the secret with where the store keeps it, as name and property."""
    wanted = site.fleet.secrets
    return object_of(
        "external-secrets.io/v1",
        "ExternalSecret",
        name,
        namespace,
        site.labels(name, "secret", part_of),
        spec={
            "refreshInterval": f"{wanted.refresh_s:g}s",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": wanted.store},
            "target": {"name": name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
            "data": [
                {"secretKey": key, "remoteRef": {"key": f"{site.spec.fleet.metadata.name}/{remote}", "property": part}}
                for key, (remote, part) in keys.items()
            ],
        },
    )


def _identity(site: Site, name: str, namespace: str, part_of: str, remote: str, keys: tuple[str, ...]) -> KubeObject:
    return external_secret(site, name, namespace, part_of, {key: (remote, key) for key in keys})
