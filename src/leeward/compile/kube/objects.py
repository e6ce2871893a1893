"""Kubernetes objects and their parts as plain dictionaries, keys in the order people write them.

Every convention that several objects share (labels, security contexts, probes, volumes) is written here,
once. What an object is *for* is decided in the modules of the concerns.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

KubeObject = dict[str, Any]

DOMAIN = "leeward.dev"
POD_ADDRESS = f"{DOMAIN}/pod-address"
"""Annotation: the address a pod gets in the world; elsewhere the network decides."""
PROBE_PERIOD = f"{DOMAIN}/probe-period-s"
"""Annotation: probe this often in the world; Kubernetes knows whole seconds only."""

# An unprivileged user that no image has a name for.
USER_ID = 65532
SECRET_MODE = 0o440


def object_of(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    **rest: Any,
) -> KubeObject:
    """Return an object with its metadata."""
    metadata: KubeObject = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def labels_of(name: str, component: str, region: str, part_of: str) -> dict[str, str]:
    """Return an object's labels; ``selector_of`` has those that never change."""
    return {
        **selector_of(name, component),
        "app.kubernetes.io/part-of": part_of,
        "app.kubernetes.io/managed-by": "leeward",
        "topology.kubernetes.io/region": region,
    }


def selector_of(name: str, component: str) -> dict[str, str]:
    """Return the labels that select pods: who they are, not who made them."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component}


def namespace(name: str, labels: Mapping[str, str]) -> KubeObject:
    """Return a namespace whose pods must be unprivileged."""
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return object_of("v1", "Namespace", name, None, {**labels, **security})


def service_account(name: str, namespace: str, labels: Mapping[str, str]) -> KubeObject:
    """Return an account. No pod gets its token unless it mounts one."""
    return object_of("v1", "ServiceAccount", name, namespace, labels, automountServiceAccountToken=False)


def config_map(name: str, namespace: str, labels: Mapping[str, str], data: Mapping[str, str]) -> KubeObject:
    """Return settings that pods mount as files."""
    return object_of("v1", "ConfigMap", name, namespace, labels, data=dict(data))


def secret(name: str, namespace: str, labels: Mapping[str, str], values: Mapping[str, str]) -> KubeObject:
    """Return a secret with its values as text. Only the world has one; elsewhere values stay out of our objects."""
    return object_of("v1", "Secret", name, namespace, labels, type="Opaque", stringData=dict(values))


def service(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    ports: Mapping[str, int],
    *,
    kind: str = "ClusterIP",
    headless: bool = False,
    before_ready: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> KubeObject:
    """Return a service whose ports bear the names and numbers of the pods' ports.

    ``before_ready``: it leads to pods that are not ready, too. A headless one always does: those of a database or a
    quorum find each other by it.
    """
    spec: KubeObject = {"clusterIP": "None"} if headless else {"type": kind}
    if headless or before_ready:
        spec["publishNotReadyAddresses"] = True
    spec["selector"] = dict(selector)
    spec["ports"] = [{"name": port, "port": number, "targetPort": port} for port, number in ports.items()]
    return object_of("v1", "Service", name, namespace, labels, annotations, spec=spec)


def role(name: str, namespace: str, labels: Mapping[str, str], rules: Sequence[KubeObject]) -> KubeObject:
    """Return what its bearer may do in a namespace."""
    return object_of("rbac.authorization.k8s.io/v1", "Role", name, namespace, labels, rules=list(rules))


def role_binding(
    name: str, namespace: str, labels: Mapping[str, str], account: str, account_namespace: str
) -> KubeObject:
    """Return the grant of the role of the same name to an account."""
    return object_of(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        name,
        namespace,
        labels,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    )


def pod_template(
    labels: Mapping[str, str],
    containers: Sequence[KubeObject],
    *,
    account: str,
    grace_s: int,
    volumes: Sequence[KubeObject] = (),
    annotations: Mapping[str, str] | None = None,
    **rest: Any,
) -> KubeObject:
    """Return a pod template that the restricted pod security standard admits."""
    metadata: KubeObject = {"labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    spec: KubeObject = {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **rest,
        "containers": list(containers),
    }
    if volumes:
        spec["volumes"] = list(volumes)
    return {"metadata": metadata, "spec": spec}


def container(
    name: str,
    image: str,
    command: Sequence[str],
    *,
    ports: Mapping[str, int],
    env: Sequence[KubeObject] = (),
    env_from: Sequence[KubeObject] = (),
    mounts: Sequence[KubeObject] = (),
    resources: KubeObject | None = None,
    readiness: KubeObject | None = None,
    startup: KubeObject | None = None,
    liveness: KubeObject | None = None,
) -> KubeObject:
    """Return an unprivileged container. The whole command is ours, so an image's entry point plays no part."""
    result: KubeObject = {"name": name, "image": image, "command": list(command)}
    if env_from:
        result["envFrom"] = list(env_from)
    if env:
        result["env"] = list(env)
    result["ports"] = [{"name": port, "containerPort": number} for port, number in ports.items()]
    if resources:
        result["resources"] = resources
    if startup:
        result["startupProbe"] = startup
    if readiness:
        result["readinessProbe"] = readiness
    if liveness:
        result["livenessProbe"] = liveness
    if mounts:
        result["volumeMounts"] = list(mounts)
    result["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return result


def env(**values: str) -> list[KubeObject]:
    """Return environment variables in the order given."""
    return [{"name": name, "value": value} for name, value in values.items()]


def pod_ip_env() -> KubeObject:
    """Return the variable with the pod's own address. Stands before those that refer to it as $(POD_IP)."""
    return {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def http_probe(
    path: str,
    port: str,
    *,
    period_s: float,
    failures: int,
    timeout_s: int = 1,
    host: str | None = None,
) -> KubeObject:
    """Return a probe by HTTP GET, rounded up to the whole seconds that Kubernetes knows."""
    where: KubeObject = {"path": path, "port": port}
    if host is not None:
        where["host"] = host
    return {"httpGet": where, **_probe_times(period_s, failures, timeout_s)}


def tcp_probe(port: str, *, period_s: float, failures: int) -> KubeObject:
    """Return a probe that only connects: for ports that ask for a client certificate."""
    return {"tcpSocket": {"port": port}, **_probe_times(period_s, failures)}


def _probe_times(period_s: float, failures: int, timeout_s: int = 1) -> KubeObject:
    return {"periodSeconds": max(1, math.ceil(period_s)), "timeoutSeconds": timeout_s, "failureThreshold": failures}


def mount(volume: str, path: str, *, read_only: bool = False) -> KubeObject:
    """Return a volume's place in a container."""
    return {"name": volume, "mountPath": path, **({"readOnly": True} if read_only else {})}


def config_map_volume(volume: str, name: str) -> KubeObject:
    """Return a volume with a config map's files."""
    return {"name": volume, "configMap": {"name": name}}


def secret_volume(volume: str, name: str, keys: Sequence[str] = ()) -> KubeObject:
    """Return a volume with a secret's files: all, or only those named."""
    source: KubeObject = {"secretName": name, "defaultMode": SECRET_MODE}
    if keys:
        source["items"] = [{"key": key, "path": key} for key in keys]
    return {"name": volume, "secret": source}


def empty_volume(volume: str, *, size: str | None = None) -> KubeObject:
    """Return a volume that its pod's containers share, and that ends with the pod."""
    return {"name": volume, "emptyDir": {} if size is None else {"sizeLimit": size}}


def claimed_volume(volume: str, claim: str) -> KubeObject:
    """Return a volume that outlives its pod."""
    return {"name": volume, "persistentVolumeClaim": {"claimName": claim}}


def persistent_volume_claim(name: str, namespace: str, labels: Mapping[str, str], size: str) -> KubeObject:
    """Return a claim that a pod names."""
    spec = volume_claim(name, size)["spec"]
    return object_of("v1", "PersistentVolumeClaim", name, namespace, labels, spec=spec)


def volume_claim(name: str, size: str) -> KubeObject:
    """Return a claim template of a stateful set."""
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def deployment(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    template: KubeObject,
    *,
    replicas: int | None,
    strategy: KubeObject,
) -> KubeObject:
    """Return a deployment. Without ``replicas`` their number belongs to an autoscaler."""
    spec: KubeObject = {} if replicas is None else {"replicas": replicas}
    spec |= {"selector": {"matchLabels": dict(selector)}, "strategy": strategy, "template": template}
    return object_of("apps/v1", "Deployment", name, namespace, labels, spec=spec)


def stateful_set(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    template: KubeObject,
    *,
    service: str,
    claims: Sequence[KubeObject],
) -> KubeObject:
    """Return a stateful set of one pod: a region has one member of each."""
    spec: KubeObject = {
        "serviceName": service,
        "replicas": 1,
        "selector": {"matchLabels": dict(selector)},
        "template": template,
        "volumeClaimTemplates": list(claims),
    }
    return object_of("apps/v1", "StatefulSet", name, namespace, labels, spec=spec)
