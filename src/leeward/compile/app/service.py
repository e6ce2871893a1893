"""An application's stateless part in one region: deployment, service, autoscaler."""

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, object_of, selector_of
from leeward.compile.region.gateway_ports import called
from leeward.compile.region.identity import OWNER_PASSWORD_KEY, database_secret, instance_secret
from leeward.compile.target import DATABASE_SECRETS_DIR, IDENTITY_DIR, POSTGRES_PORT, Target
from leeward.core.identities import CERTIFICATE
from leeward.spec.application import Application, Engine, Operator, Resources, Service
from leeward.spec.spec import Spec
from leeward.spec.workload import AntiAffinity, Autoscaling, Exposure, SecretVariable

PORT = "http"
COCKROACH_PORT = 26257
READINESS_FAILURES = 2
LIVENESS_FAILURES = 6
# So long may a service take to start: a busy machine starts many at once, and no liveness probe may end them.
START_S = 180
LIVENESS_PERIODS = 4
# Load that comes back within five minutes finds the pods still there.
SCALE_DOWN_WINDOW_S = 300


def service(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return what runs and scales the service."""
    app, namespace, wanted = application.metadata.name, application.namespace, application.spec.service
    labels, selector = labels_of(app, "service", region, app), selector_of(app, "service")
    template = k8s.pod_template(
        labels,
        [_container(spec, application, region, target)],
        account=app,
        grace_s=target.grace_s,
        volumes=[
            # The certificate, to check that it is valid; the key is the instance manager's alone.
            k8s.secret_volume("identity", instance_secret(app), [CERTIFICATE]),
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
        **_places(wanted, selector),
    )
    deployment = k8s.deployment(
        app,
        namespace,
        labels,
        selector,
        template,
        # An autoscaler's number would be overwritten each time this is applied.
        replicas=None if wanted.autoscaling and target.autoscales else wanted.replicas,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    )
    scaling = wanted.autoscaling
    balanced = wanted.expose is Exposure.LOAD_BALANCER
    return [
        k8s.service_account(app, namespace, labels),
        *([k8s.config_map(f"{app}-config", namespace, labels, wanted.config)] if wanted.config else []),
        k8s.service(
            app, namespace, labels, selector, {PORT: wanted.port}, kind="LoadBalancer" if balanced else "ClusterIP"
        ),
        deployment,
        *([_autoscaler(application, labels, scaling, target.autoscales)] if scaling else []),
    ]


def _places(wanted: Service, selector: dict[str, str]) -> KubeObject:
    """Return where its pods may run, as far as the application says."""
    places: KubeObject = {}
    if wanted.node_selector:
        places["nodeSelector"] = dict(wanted.node_selector)
    term = {"labelSelector": {"matchLabels": selector}, "topologyKey": "kubernetes.io/hostname"}
    if wanted.anti_affinity is AntiAffinity.PREFERRED:
        preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
        places["affinity"] = {"podAntiAffinity": preferred}
    elif wanted.anti_affinity is AntiAffinity.REQUIRED:
        places["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return places


def _secret_variable(variable: SecretVariable) -> KubeObject:
    source = {"secretKeyRef": {"name": variable.secret, "key": variable.key}}
    return {"name": variable.env, "valueFrom": source}


def _container(spec: Spec, application: Application, region: str, target: Target) -> KubeObject:
    app, wanted = application.metadata.name, application.spec.service
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
                **_database(spec, application, target),
                DATABASE_NAME=app,
                DATABASE_USER=app,
                PASSWORD_FILE=f"{DATABASE_SECRETS_DIR}/{OWNER_PASSWORD_KEY}",
                IDENTITY_DIR=IDENTITY_DIR,
            ),
            *(k8s.env(LOG_FORMAT=wanted.log_format.value) if wanted.log_format else []),
            *k8s.env(**wanted.env),
            *(_secret_variable(each) for each in wanted.secrets),
        ],
        env_from=[{"configMapRef": {"name": f"{app}-config"}}] if wanted.config else [],
        mounts=[
            k8s.mount("identity", IDENTITY_DIR, read_only=True),
            k8s.mount("password", DATABASE_SECRETS_DIR, read_only=True),
        ],
        resources=_resources(wanted),
        startup=k8s.http_probe(probes.liveness, PORT, period_s=1.0, failures=START_S),
        readiness=k8s.http_probe(probes.readiness, PORT, period_s=period_s, failures=READINESS_FAILURES),
        liveness=k8s.http_probe(
            probes.liveness, PORT, period_s=LIVENESS_PERIODS * period_s, failures=LIVENESS_FAILURES
        ),
    )


def read_service(application: Application) -> str:
    """Return the name of the service that leads to the database's members in the region."""
    app, database = application.metadata.name, application.spec.database
    if database.engine is Engine.COCKROACHDB:
        return f"{app}-cockroachdb-public"
    return f"{app}-postgres-r" if database.operator is Operator.CLOUDNATIVE_PG else f"{app}-postgres"


def _database(spec: Spec, application: Application, target: Target) -> dict[str, str]:
    """Return where the service writes and reads: the primary through the gateway, and the region's own replica."""
    app, namespace, wanted = application.metadata.name, application.namespace, application.spec.database
    ports = called(spec, application, target)
    if ports is None:
        # Any member takes reads and writes.
        host, port = f"{read_service(application)}.{namespace}.{target.services_domain}", str(COCKROACH_PORT)
        return {
            "DATABASE_HOST": host,
            "DATABASE_PORT": port,
            "DATABASE_READ_HOST": host,
            "DATABASE_READ_PORT": port,
        }
    replica = target.database_host(app, namespace)
    if wanted.operator is Operator.CLOUDNATIVE_PG:
        replica = f"{read_service(application)}.{namespace}.{target.services_domain}"
    return {
        "DATABASE_HOST": target.gateway_host(app),
        "DATABASE_PORT": str(ports.primary),
        "DATABASE_READ_HOST": replica,
        "DATABASE_READ_PORT": str(POSTGRES_PORT),
    }


def _resources(wanted: Service) -> KubeObject | None:
    both = {"requests": _amounts(wanted.resources.requests), "limits": _amounts(wanted.resources.limits)}
    return {name: amounts for name, amounts in both.items() if amounts} or None


def _amounts(resources: Resources) -> dict[str, str]:
    both = {"cpu": resources.cpu, "memory": resources.memory}
    return {name: str(amount) for name, amount in both.items() if amount is not None}


def _autoscaler(application: Application, labels: dict[str, str], wanted: Autoscaling, behaves: bool) -> KubeObject:
    """Return the autoscaler. The world's looks at CPU only, and is as quick as a demonstration wants it."""
    app = application.metadata.name
    # Utilization is measured in percent of what is requested.
    by_memory = behaves and wanted.memory and application.spec.service.resources.requests.memory
    metrics = {"cpu": wanted.cpu, **({"memory": wanted.memory} if by_memory else {})}
    spec: KubeObject = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
        "minReplicas": wanted.min,
        "maxReplicas": wanted.max,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
            }
            for name, percent in metrics.items()
        ],
    }
    if behaves:
        spec["behavior"] = {
            "scaleUp": _pace(wanted.up_per_minute, window_s=0),
            "scaleDown": _pace(wanted.down_per_minute, window_s=SCALE_DOWN_WINDOW_S),
        }
    return object_of("autoscaling/v2", "HorizontalPodAutoscaler", app, application.namespace, labels, spec=spec)


def fixed_autoscaler(application: Application, labels: dict[str, str]) -> KubeObject:
    """Return the autoscaler that keeps the number of pods which the application states."""
    replicas = application.spec.service.replicas
    return _autoscaler(application, labels, Autoscaling(min=replicas, max=replicas, memory=None), behaves=True)


def _pace(pods: int, *, window_s: int) -> KubeObject:
    policy = {"type": "Pods", "value": pods, "periodSeconds": 60}
    return {"stabilizationWindowSeconds": window_s, "selectPolicy": "Max", "policies": [policy]}
