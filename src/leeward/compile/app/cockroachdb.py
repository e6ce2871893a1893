"""A consensus database instead of primary and standbys: CockroachDB's members of one region.

Every region's members join the others'; each knows its locality, so that replicas are spread over regions and the loss
of one keeps a majority. There is no primary to move: Leeward moves the traffic only.

A job in one cluster, the placement's first, makes them a cluster once: ``cockroach init`` at that cluster's first
member, with the root's certificate. Before that it asks all others, so that a member that has lost its volume joins
again instead of starting a second cluster; done already is success. A change of the job is a job of another name.
"""

import hashlib
import json

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, selector_of
from leeward.compile.region.identity import DATABASE_INIT, cockroach_root_secret, starts_cockroach
from leeward.compile.target import DATABASE_VOLUME_DIR, Target
from leeward.spec.application import Application
from leeward.spec.platform import MeshKind
from leeward.spec.spec import Spec

IMAGE = "docker.io/cockroachdb/cockroach:v25.2.5"
PORTS = {"sql": 26257, "http": 8080}
CERTIFICATES_DIR = "/cockroach/certs"
INIT = """\
host=$1
shift
for other in "$@"; do
  if timeout 20 /cockroach/cockroach node ls --host="$other" >/dev/null 2>&1; then
    echo "$other is a member of a cluster: $host will join it"
    exit 0
  fi
done
said=$(/cockroach/cockroach init --host="$host" 2>&1)
code=$?
echo "$said"
case $said in
  *"cluster has already been initialized"*) exit 0 ;;
esac
exit $code
"""
"""Arguments: the member that starts the cluster, then all others. They are asked first; see above."""


def cockroachdb(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return the region's members and the services by which they and the pods find each other."""
    app, namespace, wanted = application.metadata.name, application.namespace, application.spec.database
    name = f"{app}-cockroachdb"
    labels, selector = labels_of(name, "database", region, app), selector_of(name, "database")
    members = [
        f"{name}-{index}.{name}.{namespace}.svc.cluster.{each}:{PORTS['sql']}"
        for each in spec.placement(application)
        for index in range(min(wanted.instances, 2))
    ]
    own = f"$(POD_NAME).{name}.{namespace}.svc.cluster.{region}"
    command = ["/cockroach/cockroach", "start", "--logtostderr", f"--certs-dir={CERTIFICATES_DIR}"]
    command += [f"--advertise-addr={own}:{PORTS['sql']}", f"--join={','.join(members)}"]
    command += [f"--locality=region={region}", f"--store=path={DATABASE_VOLUME_DIR}", "--cache=25%"]
    command += ["--max-sql-memory=25%"]
    member = k8s.container(
        "cockroachdb",
        IMAGE,
        command,
        ports=PORTS,
        env=[{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        mounts=[
            k8s.mount("data", DATABASE_VOLUME_DIR),
            k8s.mount("certificates", CERTIFICATES_DIR, read_only=True),
        ],
        resources={"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        readiness={
            "httpGet": {"path": "/health?ready=1", "port": "http", "scheme": "HTTPS"},
            "periodSeconds": 5,
            "failureThreshold": 2,
        },
    )
    template = k8s.pod_template(
        labels,
        [member],
        account=name,
        grace_s=max(60, target.grace_s),
        volumes=[k8s.secret_volume("certificates", f"{name}-certificates")],
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
        ],
    )
    stateful_set = k8s.stateful_set(
        name,
        namespace,
        labels,
        selector,
        template,
        service=name,
        claims=[k8s.volume_claim("data", str(wanted.storage))],
    )
    stateful_set["spec"]["replicas"] = wanted.instances
    # Members of a new cluster wait for one another; one by one none would ever be ready.
    stateful_set["spec"]["podManagementPolicy"] = "Parallel"
    budget = k8s.object_of(
        "policy/v1",
        "PodDisruptionBudget",
        name,
        namespace,
        labels,
        spec={"maxUnavailable": 1, "selector": {"matchLabels": selector}},
    )
    return [
        k8s.service_account(name, namespace, labels),
        k8s.service(name, namespace, labels, selector, PORTS, headless=True),
        k8s.service(f"{name}-public", namespace, labels, selector, {"sql": PORTS["sql"]}),
        stateful_set,
        *([_init(spec, application, region, members)] if starts_cockroach(spec, application, region) else []),
        budget,
    ]


def _init(spec: Spec, application: Application, region: str, members: list[str]) -> KubeObject:
    """Return the job. The first of ``members`` is this cluster's, since the placement's first region comes first."""
    app, namespace = application.metadata.name, application.namespace
    name = f"{app}-cockroachdb"
    labels = labels_of(f"{name}-init", DATABASE_INIT, region, app)
    container = k8s.container(
        "init",
        IMAGE,
        ["/bin/sh", "-c", INIT, "init", *members],
        ports={},
        env=k8s.env(COCKROACH_CERTS_DIR=CERTIFICATES_DIR),
        mounts=[k8s.mount("certificates", CERTIFICATES_DIR, read_only=True)],
        resources={"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
    )
    # Istio's proxy as an init container that goes on: as an ordinary one it would keep the job from ever ending.
    meshed = spec.fleet.spec.mesh.kind is MeshKind.ISTIO
    template = k8s.pod_template(
        labels,
        [container],
        account=name,
        grace_s=30,
        volumes=[k8s.secret_volume("certificates", cockroach_root_secret(app))],
        annotations={"sidecar.istio.io/nativeSidecar": "true"} if meshed else None,
        restartPolicy="OnFailure",
    )
    # A job's template may not be changed in place.
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
    # Until the members are there and have addresses it starts again, after at most five minutes each.
    job = {"backoffLimit": 20, "template": template}
    return k8s.object_of("batch/v1", "Job", f"{name}-init-{digest}", namespace, labels, spec=job)
