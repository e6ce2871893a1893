"""An application's PostgreSQL by CloudNativePG: a cluster in each region, one of them primary, the others replicas.

CloudNativePG keeps each region's members; which region leads is the field ``replica.primary``. Leeward's agents do not
change it yet and do not know its primary: no gateway leads there, and ``validate`` says so. Between regions
CloudNativePG replicates asynchronously, so other modes are refused.
Certificates are provided, not made by the operator: the regions would not trust each other's own authorities.
"""

from leeward.compile.kube.objects import KubeObject, labels_of, object_of
from leeward.compile.region.gateway_ports import called
from leeward.compile.region.identity import database_secret
from leeward.compile.target import Target
from leeward.spec.application import Application
from leeward.spec.spec import Spec

CLUSTER_LABEL = "cnpg.io/cluster"
"""The label of its pods, which the operator makes."""
STATUS_PORT, METRICS_PORT = 8000, 9187
IMAGE = "ghcr.io/cloudnative-pg/postgresql:18"


def cloudnative_pg(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return the region's cluster."""
    app, database = application.metadata.name, application.spec.database
    primary, *standbys = regions = spec.placement(application)
    name, ports = f"{app}-postgres", called(spec, application, target)
    assert ports is not None

    def named(each: str) -> str:
        return f"{name}-{each}"

    bootstrap: KubeObject = (
        {"initdb": {"database": app, "owner": app, "secret": {"name": f"{database_secret(app)}-owner"}}}
        if region == primary
        else {"pg_basebackup": {"source": named(primary)}}
    )
    # Its webhook wants to find all three in the list. A primary names where it would follow.
    source = standbys[0] if region == primary and standbys else primary
    external = [
        {
            "name": named(each),
            "connectionParameters": {
                "host": target.gateway_host(app),
                "port": str(ports.egress[each]),
                "user": "streaming_replica",
                "dbname": "postgres",
                "sslmode": "verify-ca",
            },
            "sslKey": {"name": f"{name}-replication", "key": "tls.key"},
            "sslCert": {"name": f"{name}-replication", "key": "tls.crt"},
            "sslRootCert": {"name": f"{name}-ca", "key": "ca.crt"},
        }
        for each in regions
    ]
    return [
        object_of(
            "postgresql.cnpg.io/v1",
            "Cluster",
            name,
            application.namespace,
            labels_of(name, "database", region, app),
            spec={
                "instances": database.instances,
                "imageName": IMAGE,
                "primaryUpdateStrategy": "unsupervised",
                "postgresql": {
                    "parameters": {"max_slot_wal_keep_size": "4GB"},
                },
                "certificates": {
                    "serverCASecret": f"{name}-ca",
                    "serverTLSSecret": f"{name}-server",
                    "clientCASecret": f"{name}-ca",
                    "replicationTLSSecret": f"{name}-replication",
                },
                "bootstrap": bootstrap,
                "replica": {"self": named(region), "primary": named(primary), "source": named(source)},
                "externalClusters": external,
                "storage": {"size": str(database.storage)},
                "affinity": {"topologyKey": "topology.kubernetes.io/zone", "podAntiAffinityType": "preferred"},
                "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
            },
        )
    ]
