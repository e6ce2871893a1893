"""Who a region's processes are: the secrets they mount, by reference everywhere, with values in the world only.

Each secret holds what one purpose needs, and each container mounts those of its own purposes
(docs/decisions/0024-identities-by-purpose.md).
"""

from leeward.compile.kube.objects import KubeObject, labels_of, secret
from leeward.compile.target import SYSTEM_NAMESPACE, SecretValues
from leeward.core.identities import CA, CERTIFICATE, INSTANCE_CA, KEY, PEER_CA, PEER_CERTIFICATE, PEER_KEY
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.spec import Spec

AGENT_SECRET = "leeward-agent"
STORE_CLIENT_SECRET = "leeward-store-client"
STORE_MEMBER_SECRET = "leeward-store-member"
GATEWAY_SECRET = "leeward-gateway"
METRICS_SECRET = "leeward-metrics"
"""What Prometheus shows the agent: an identity that may read, and nothing else."""
IDENTITY_KEYS = (CA, CERTIFICATE, KEY)
SYSTEM_SECRETS = {
    AGENT_SECRET: (*IDENTITY_KEYS, INSTANCE_CA),
    STORE_CLIENT_SECRET: IDENTITY_KEYS,
    STORE_MEMBER_SECRET: (*IDENTITY_KEYS, PEER_CA, PEER_CERTIFICATE, PEER_KEY),
    GATEWAY_SECRET: IDENTITY_KEYS,
}
"""What Leeward's own pods of a region mount: each secret's name, and its keys."""
CLUSTER_TOKEN_SECRET = "leeward-cluster-token"
CLUSTER_TOKEN_KEY = "token"
DATABASE_INIT = "database-init"
"""The component of the job that starts a database whose members cannot be ready before."""
OWNER_PASSWORD_KEY = "password"
REPLICATION_PASSWORD_KEY = "replication-password"


def database_secret(app: str) -> str:
    """Return the name of the secret with an application's database passwords."""
    return f"{app}-database"


def instance_secret(app: str) -> str:
    """Return the name of the secret with the identity of an application's instance manager in the region."""
    return f"{app}-identity"


def has_instance(application: Application) -> bool:
    """Return whether Leeward's instance manager owns an application's database."""
    wanted = application.spec.database
    return wanted.engine is Engine.POSTGRES and wanted.operator is Operator.LEEWARD


def cockroach_root_secret(app: str) -> str:
    """Return the name of the secret with the certificate of CockroachDB's root."""
    return f"{app}-cockroachdb-root"


def starts_cockroach(spec: Spec, application: Application, region: str) -> bool:
    """Return whether a region is the one whose first cluster starts an application's CockroachDB."""
    return application.spec.database.engine is Engine.COCKROACHDB and region == spec.placement(application)[0]


def operator_secrets(spec: Spec, application: Application, region: str) -> dict[str, tuple[str, ...]]:
    """Return what a database that is not ours needs besides: each secret's name, and its keys.

    All regions' certificates are of one authority, so that members of one trust those of another.
    """
    app, wanted = application.metadata.name, application.spec.database
    if wanted.engine is Engine.COCKROACHDB:
        members = {f"{app}-cockroachdb-certificates": ("ca.crt", "node.crt", "node.key")}
        root = {cockroach_root_secret(app): ("ca.crt", "client.root.crt", "client.root.key")}
        return {**members, **(root if starts_cockroach(spec, application, region) else {})}
    if wanted.operator is Operator.CLOUDNATIVE_PG:
        name = f"{app}-postgres"
        return {
            f"{database_secret(app)}-owner": ("username", "password"),
            f"{name}-ca": ("ca.crt",),
            f"{name}-server": ("tls.crt", "tls.key"),
            f"{name}-replication": ("tls.crt", "tls.key"),
        }
    return {}


def secrets(spec: Spec, region: str, values: SecretValues) -> list[KubeObject]:
    """Return the secrets with their values, for a cluster that lives and dies with its user's machine."""
    system = labels_of("leeward", "identity", region, "leeward")
    result = [
        secret(AGENT_SECRET, SYSTEM_NAMESPACE, system, values.agent),
        secret(STORE_CLIENT_SECRET, SYSTEM_NAMESPACE, system, values.store_client),
        secret(STORE_MEMBER_SECRET, SYSTEM_NAMESPACE, system, values.store_member),
        secret(GATEWAY_SECRET, SYSTEM_NAMESPACE, system, values.gateway),
        secret(
            CLUSTER_TOKEN_SECRET,
            SYSTEM_NAMESPACE,
            system,
            {CLUSTER_TOKEN_KEY: values.cluster_token, CA: values.cluster_ca},
        ),
    ]
    for application in spec.applications:
        if region not in spec.placement(application):
            continue
        app = application.metadata.name
        labels = labels_of(app, "identity", region, app)
        passwords = values.databases[app]
        result += [
            secret(instance_secret(app), application.namespace, labels, values.instances[app]),
            secret(
                database_secret(app),
                application.namespace,
                labels,
                {OWNER_PASSWORD_KEY: passwords.owner, REPLICATION_PASSWORD_KEY: passwords.replication},
            ),
        ]
    return result
