"""Who a region's processes are: the secrets they mount, by reference everywhere, with values in the world only."""

from leeward.compile.objects import KubeObject, labels_of, secret
from leeward.compile.target import SYSTEM_NAMESPACE, SecretValues
from leeward.spec.spec import Spec

IDENTITY_SECRET = "leeward-identity"
CLUSTER_TOKEN_SECRET = "leeward-cluster-token"
CLUSTER_TOKEN_KEY = "token"
OWNER_PASSWORD_KEY = "password"
REPLICATION_PASSWORD_KEY = "replication-password"


def database_secret(app: str) -> str:
    """Return the name of the secret with an application's database passwords."""
    return f"{app}-database"


def secrets(spec: Spec, region: str, values: SecretValues) -> list[KubeObject]:
    """Return the secrets with their values, for a cluster that lives and dies with its user's machine."""
    system = labels_of("leeward", "identity", region, "leeward")
    result = [
        secret(IDENTITY_SECRET, SYSTEM_NAMESPACE, system, values.identity),
        secret(CLUSTER_TOKEN_SECRET, SYSTEM_NAMESPACE, system, {CLUSTER_TOKEN_KEY: values.cluster_token}),
    ]
    for application in spec.applications:
        if region not in spec.placement(application):
            continue
        app = application.metadata.name
        labels = labels_of(app, "identity", region, app)
        passwords = values.databases[app]
        result += [
            secret(IDENTITY_SECRET, application.namespace, labels, values.identity),
            secret(
                database_secret(app),
                application.namespace,
                labels,
                {OWNER_PASSWORD_KEY: passwords.owner, REPLICATION_PASSWORD_KEY: passwords.replication},
            ),
        ]
    return result
