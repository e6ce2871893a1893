"""An application's stateless part in one region: deployment, service, autoscaler."""

from leeward.compile import objects as k8s
from leeward.compile.identity import IDENTITY_SECRET, OWNER_PASSWORD_KEY, database_secret
from leeward.compile.objects import KubeObject, labels_of, object_of, selector_of
from leeward.compile.target import DATABASE_SECRETS_DIR, IDENTITY_DIR, POSTGRES_PORT, Target
from leeward.spec.application import Application, Autoscaling, Resources, Service

PORT = "http"
READINESS_FAILURES = 2
LIVENESS_FAILURES = 6
LIVENESS_PERIODS = 4


def service(application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return what runs and scales the service."""
    app, wanted = application.metadata.name, application.spec.service
    labels, selector = labels_of(app, "service", region, app), selector_of(app, "service")
    template = k8s.pod_template(
        labels,
        [_container(app, wanted, region, target)],
        account=app,
        grace_s=target.grace_s,
        volumes=[
            # The certificate, to check that it is valid; the region's key is none of the service's business.
            k8s.secret_volume("identity", IDENTITY_SECRET, ["ca.crt", "tls.crt"]),
            k8s.secret_volume("password", database_secret(app), [OWNER_PASSWORD_KEY]),
        ],
        annotations=target.pod_annotations(),
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
    )
    deployment = k8s.deployment(
        app,
        app,
        labels,
        selector,
        template,
        # An autoscaler's number would be overwritten each time this is applied.
        replicas=None if wanted.autoscaling and target.autoscales else wanted.replicas,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    )
    return [
        k8s.service_account(app, app, labels),
        k8s.service(app, app, labels, selector, {PORT: wanted.port}),
        deployment,
        *([_autoscaler(app, labels, wanted.autoscaling)] if wanted.autoscaling else []),
    ]


def _container(app: str, wanted: Service, region: str, target: Target) -> KubeObject:
    probes, period_s = wanted.probes, target.probe_period_s
    return k8s.container(
        app,
        wanted.image,
        wanted.command,
        ports={PORT: wanted.port},
        env=[
            k8s.pod_ip_env(),
            *k8s.env(
                REGION=region,
                PORT=str(wanted.port),
                EXAMPLE_DIR=target.source_dir,
                DATABASE_HOST=target.gateway_host,
                DATABASE_PORT=str(POSTGRES_PORT),
                DATABASE_READ_HOST=target.database_host(app),
                DATABASE_READ_PORT=str(POSTGRES_PORT),
                DATABASE_NAME=app,
                DATABASE_USER=app,
                PASSWORD_FILE=f"{DATABASE_SECRETS_DIR}/{OWNER_PASSWORD_KEY}",
                IDENTITY_DIR=IDENTITY_DIR,
            ),
            *k8s.env(**wanted.env),
        ],
        mounts=[
            k8s.mount("identity", IDENTITY_DIR, read_only=True),
            k8s.mount("password", DATABASE_SECRETS_DIR, read_only=True),
        ],
        resources=_resources(wanted),
        readiness=k8s.http_probe(probes.readiness, PORT, period_s=period_s, failures=READINESS_FAILURES),
        liveness=k8s.http_probe(
            probes.liveness, PORT, period_s=LIVENESS_PERIODS * period_s, failures=LIVENESS_FAILURES
        ),
    )


def _resources(wanted: Service) -> KubeObject | None:
    both = {"requests": _amounts(wanted.resources.requests), "limits": _amounts(wanted.resources.limits)}
    return {name: amounts for name, amounts in both.items() if amounts} or None


def _amounts(resources: Resources) -> dict[str, str]:
    both = {"cpu": resources.cpu, "memory": resources.memory}
    return {name: str(amount) for name, amount in both.items() if amount is not None}


def _autoscaler(app: str, labels: dict[str, str], wanted: Autoscaling) -> KubeObject:
    return object_of(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        app,
        app,
        labels,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
            "minReplicas": wanted.min,
            "maxReplicas": wanted.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": wanted.cpu}},
                }
            ],
        },
    )
