"""Services that clusters export to the fleet: their objects, and the part of Leeward's agents and gateways in them."""

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, object_of
from leeward.compile.target import SERVICES_PORT, SYSTEM_NAMESPACE, Target
from leeward.spec.application import Application
from leeward.spec.spec import Spec

SERVICES_SERVICE = "leeward-services"
GROUP = "multicluster.x-k8s.io"
VERSION = f"{GROUP}/v1alpha1"


def export(spec: Spec, application: Application, region: str) -> list[KubeObject]:
    """Return the export of an application's service, if the fleet exports them."""
    if not spec.fleet.spec.network.exports:
        return []
    app = application.metadata.name
    return [object_of(VERSION, "ServiceExport", app, application.namespace, labels_of(app, "names", region, app))]


def imports(application: Application, region: str) -> list[KubeObject]:
    """Return the services that an application uses and others export."""
    labels = labels_of(application.metadata.name, "names", region, application.metadata.name)
    return [
        object_of(
            VERSION,
            "ServiceImport",
            wanted.name,
            application.namespace,
            labels,
            spec={"type": "ClusterSetIP", "ports": [{"name": "http", "protocol": "TCP", "port": wanted.port}]},
        )
        for wanted in application.spec.network.imports
    ]


def honoured(spec: Spec, target: Target) -> bool:
    """Return whether agents look for exports: where the fleet asks for it, and in every world, which has the kinds."""
    return target.pods is not None or spec.fleet.spec.network.exports


def namespaces(spec: Spec, region: str, target: Target) -> tuple[str, ...] | None:
    """Return where the region's agent looks for exports; None where it does not."""
    if not honoured(spec, target):
        return None
    return tuple(sorted({each.namespace for each in spec.applications if region in spec.placement(each)}))


def rights(spec: Spec, target: Target) -> list[KubeObject]:
    """Return what the agent may do with exports in a namespace: see them, and report their status."""
    if not honoured(spec, target):
        return []
    kinds = ["serviceexports", "serviceimports"]
    return [
        {"apiGroups": [GROUP], "resources": kinds, "verbs": ["get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": [f"{each}/status" for each in kinds], "verbs": ["patch"]},
    ]


def ports(spec: Spec) -> dict[str, int]:
    """Return the gateway's port for exported services, if there are any to ask for."""
    return {"services": SERVICES_PORT} if spec.fleet.spec.network.exports else {}


def services(spec: Spec, labels: dict[str, str], selector: dict[str, str]) -> list[KubeObject]:
    """Return what leads this region's pods to that port. It is not open to users."""
    if not spec.fleet.spec.network.exports:
        return []
    service = k8s.service(SERVICES_SERVICE, SYSTEM_NAMESPACE, labels, selector, ports(spec))
    service["spec"]["ports"] = [{"name": "services", "port": 80, "targetPort": "services"}]
    return [service]
