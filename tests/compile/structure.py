"""What must hold of the objects of one cluster together: the mistakes an API server does not see."""

from collections.abc import Iterable, Iterator
from typing import Any

from leeward.compile import KubeObject

WORKLOADS = ("Deployment", "Job", "StatefulSet")
Key = tuple[str, str | None, str]


def key_of(item: KubeObject) -> Key:
    """Return what identifies an object."""
    return item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]


def faults(items: list[KubeObject], *, external: Iterable[Key] = ()) -> list[str]:
    """Return every fault, in words. ``external`` objects are provided by somebody else."""
    keys = [key_of(item) for item in items]
    known = {*keys, *external}
    result = [f"{key} is there twice" for key in set(keys) if keys.count(key) > 1]
    seen: set[str] = set()
    for item in items:
        where = key_of(item)
        namespace = item["metadata"].get("namespace")
        if item["kind"] == "Namespace":
            seen.add(item["metadata"]["name"])
        elif namespace not in seen:
            result.append(f"{where} comes before its namespace")
        if item["kind"] in WORKLOADS:
            result += [f"{where}: {fault}" for fault in _workload(item, known)]
        if item["kind"] == "Service":
            result += [f"{where}: {fault}" for fault in _service(item, items)]
        if item["kind"] == "RoleBinding":
            result += [f"{where} refers to no {key}" for key in _bound(item) if key not in known]
        if item["kind"] == "HorizontalPodAutoscaler":
            target = item["spec"]["scaleTargetRef"]
            if (target["kind"], namespace, target["name"]) not in known:
                result.append(f"{where} scales nothing")
    return result


def _workload(item: KubeObject, known: set[Key]) -> Iterator[str]:
    namespace = item["metadata"]["namespace"]
    template = item["spec"]["template"]
    # A job's selector is Kubernetes' own.
    selector = {} if item["kind"] == "Job" else item["spec"]["selector"]["matchLabels"]
    if not selector.items() <= template["metadata"]["labels"].items():
        yield "its selector does not match its template"
    spec = template["spec"]
    if ("ServiceAccount", namespace, spec["serviceAccountName"]) not in known:
        yield "it has no service account"
    if item["kind"] == "StatefulSet" and ("Service", namespace, item["spec"]["serviceName"]) not in known:
        yield "it has no service"
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    volumes |= {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", ())}
    for volume in spec.get("volumes", ()):
        for kind, field in (("ConfigMap", "name"), ("Secret", "secretName")):
            source = volume.get(kind[0].lower() + kind[1:])
            if source and (kind, namespace, source[field]) not in known:
                yield f"volume {volume['name']} has no {kind} {source[field]}"
    mounted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())}
    if mounted != volumes:
        yield f"volumes {volumes} and mounts {mounted} differ"
    numbers = [
        (port["containerPort"], port.get("protocol", "TCP"))
        for container in spec["containers"]
        for port in container["ports"]
    ]
    names = [port["name"] for container in spec["containers"] for port in container["ports"]]
    if len(names) != len(set(names)):
        yield "two ports of the pod have the same name"
    if len(numbers) != len(set(numbers)):
        yield "two containers of the pod have the same port"
    for container in spec["containers"]:
        yield from _container(container)
    yield from _privileges(spec)


def _container(container: dict[str, Any]) -> Iterator[str]:
    ports = {port["name"] for port in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe"):
        for how in ("httpGet", "tcpSocket"):
            port = container.get(probe, {}).get(how, {}).get("port")
            if port is not None and port not in ports:
                yield f"its {probe} asks port {port}"
    names = [variable["name"] for variable in container.get("env", ())]
    if len(names) != len(set(names)):
        yield "a variable is set twice"
    if any(len(port) > 15 for port in ports):
        yield "a port's name is too long"
    if not all(isinstance(part, str) for part in container["command"]):
        yield "its command is not all text"


def _privileges(spec: dict[str, Any]) -> Iterator[str]:
    """Yield what the restricted pod security standard would refuse."""
    pod = spec["securityContext"]
    if not pod["runAsNonRoot"] or pod["seccompProfile"]["type"] != "RuntimeDefault" or not pod["runAsUser"]:
        yield "the pod may run as root or without seccomp"
    for container in spec["containers"]:
        context = container["securityContext"]
        if context["allowPrivilegeEscalation"] or context["capabilities"] != {"drop": ["ALL"]}:
            yield f"container {container['name']} keeps privileges"


def _service(item: KubeObject, items: list[KubeObject]) -> Iterator[str]:
    pods = [
        other["spec"]["template"]
        for other in items
        if other["kind"] in WORKLOADS
        and other["metadata"]["namespace"] == item["metadata"]["namespace"]
        and item["spec"]["selector"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
    ]
    if len(pods) != 1:
        yield f"it selects the pods of {len(pods)} workloads"
        return
    ports = {(port["name"], port["containerPort"]) for each in pods[0]["spec"]["containers"] for port in each["ports"]}
    for port in item["spec"]["ports"]:
        # DNS is asked on 53, which pods may not listen on; ports of a gateway are found by their names alone.
        own = item["metadata"]["name"].startswith(("gateway-", "leeward-gateway", "leeward-services"))
        number = 8053 if port["port"] == 53 else port["port"]
        if (port["targetPort"] not in dict(ports)) if own else ((port["targetPort"], number) not in ports):
            yield f"port {port['name']} leads to no port of the pods"


def _bound(item: KubeObject) -> Iterator[Key]:
    yield item["roleRef"]["kind"], item["metadata"]["namespace"], item["roleRef"]["name"]
    for subject in item["subjects"]:
        yield subject["kind"], subject["namespace"], subject["name"]
