"""An application's PostgreSQL in one region: an instance manager that owns one server and its volume.

Which region is the primary is not part of the objects: the agent orders it, under a lease.
"""

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, selector_of
from leeward.compile.region.gateway_ports import called
from leeward.compile.region.identity import (
    OWNER_PASSWORD_KEY,
    REPLICATION_PASSWORD_KEY,
    database_secret,
    instance_secret,
)
from leeward.compile.target import (
    DATABASE_SECRETS_DIR,
    DATABASE_VOLUME_DIR,
    IDENTITY_DIR,
    INSTANCE_PORT,
    POSTGRES_PORT,
    Target,
)
from leeward.spec.application import Application, Database
from leeward.spec.spec import Spec

DATA_VOLUME = "data"
PORTS = {"postgres": POSTGRES_PORT, "instance": INSTANCE_PORT}


def database(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return the stateful set and its service."""
    app, namespace = application.metadata.name, application.namespace
    name = f"{app}-postgres"
    labels, selector = labels_of(name, "database", region, app), selector_of(name, "database")
    manager = k8s.container(
        "postgres",
        target.images.postgres,
        _command(spec, application, region, target),
        ports=PORTS,
        env=[k8s.pod_ip_env()],
        mounts=[
            k8s.mount(DATA_VOLUME, DATABASE_VOLUME_DIR),
            k8s.mount("identity", IDENTITY_DIR, read_only=True),
            k8s.mount("passwords", DATABASE_SECRETS_DIR, read_only=True),
        ],
        resources={"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        # No liveness probe: a database is never restarted because a probe could not reach it.
        readiness=k8s.tcp_probe("instance", period_s=target.probe_period_s, failures=3),
    )
    template = k8s.pod_template(
        labels,
        [manager],
        account=name,
        grace_s=target.grace_s,
        volumes=[
            k8s.secret_volume("identity", instance_secret(app)),
            k8s.secret_volume("passwords", database_secret(app)),
        ],
        annotations=target.pod_annotations(lambda pods: pods.database(app)),
    )
    return [
        k8s.service_account(name, namespace, labels),
        k8s.service(name, namespace, labels, selector, PORTS, headless=True),
        k8s.stateful_set(
            name,
            namespace,
            labels,
            selector,
            template,
            service=name,
            claims=[k8s.volume_claim(DATA_VOLUME, str(application.spec.database.storage))],
        ),
    ]


def _command(spec: Spec, application: Application, region: str, target: Target) -> list[str]:
    app, ports = application.metadata.name, called(spec, application, target)
    assert ports is not None
    others = [name for name in spec.placement(application) if name != region]
    command = ["python", "-m", "leeward.instance.manager"]
    command += ["--region", region, "--app", app]
    command += ["--listen", f"$(POD_IP):{INSTANCE_PORT}", "--postgres", f"$(POD_IP):{POSTGRES_PORT}"]
    command += ["--data", f"{DATABASE_VOLUME_DIR}/pgdata", "--identity", IDENTITY_DIR]
    for other in others:
        command += ["--upstream", f"{other}={target.gateway_host(app)}:{ports.egress[other]}"]
    command += ["--database", app, "--owner", app]
    command += ["--password-file", f"{DATABASE_SECRETS_DIR}/{OWNER_PASSWORD_KEY}"]
    command += ["--replication-password-file", f"{DATABASE_SECRETS_DIR}/{REPLICATION_PASSWORD_KEY}"]
    database = application.spec.database
    retention = database.wal_retention
    if retention != Database().wal_retention:
        # What is left out is the manager's own default: an upgrade recreates no pod for it.
        command += ["--wal-retention", f"{retention / 100:g}"]
    if not database.wal_prefetch:
        command += ["--no-wal-prefetch"]
    return command
