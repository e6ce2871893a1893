"""Endpoints and EndpointSlices of Services: which pods are ready to be talked to."""

from typing import Any

from leeward.ports.cluster import ENDPOINT_SLICES, ENDPOINTS, PODS, KubeObject, Resource
from leeward.world.kubernetes.pods import is_ending, is_ready, owner_reference
from leeward.world.kubernetes.selectors import labels_of
from leeward.world.kubernetes.store import Store


def selected_pods(store: Store, service: KubeObject) -> list[KubeObject]:
    """Return the pods a Service selects, ready or not."""
    selector = (service.get("spec") or {}).get("selector") or {}
    return [
        pod
        for pod in store.list(PODS, service["metadata"]["namespace"])
        if selector and selector.items() <= labels_of(pod).items()
    ]


def reconcile_service(store: Store, service: KubeObject) -> None:
    """Write the Service's Endpoints and EndpointSlice as its pods are now."""
    spec = service.get("spec") or {}
    if not spec.get("selector"):
        return  # Endpoints of such a Service are written by others.
    pods = [
        pod
        for pod in selected_pods(store, service)
        if pod.get("status", {}).get("podIP") and pod["status"]["phase"] in ("Pending", "Running")
    ]
    publish_all = bool(spec.get("publishNotReadyAddresses"))
    metadata = {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
        "labels": dict(labels_of(service)),
        "ownerReferences": [owner_reference(service)],
    }
    ready = [pod for pod in pods if is_ready(pod) or (publish_all and not is_ending(pod))]
    waiting = [pod for pod in pods if pod not in ready and not is_ending(pod)]
    ports = [_port(port, pods) for port in spec.get("ports") or ()]
    subset: KubeObject = {"ports": ports}
    if ready:
        subset["addresses"] = [_address(pod) for pod in ready]
    if waiting:
        subset["notReadyAddresses"] = [_address(pod) for pod in waiting]
    subsets = [subset] if ready or waiting else []
    _write(store, ENDPOINTS, {"metadata": metadata, "subsets": subsets})
    slice_labels = {
        "kubernetes.io/service-name": service["metadata"]["name"],
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    _write(
        store,
        ENDPOINT_SLICES,
        {
            "metadata": {**metadata, "labels": {**metadata["labels"], **slice_labels}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [
                {
                    "addresses": [pod["status"]["podIP"]],
                    "conditions": {
                        "ready": pod in ready,
                        "serving": pod in ready,
                        "terminating": is_ending(pod),
                    },
                    "nodeName": pod["spec"].get("nodeName", ""),
                    "targetRef": _target(pod),
                }
                for pod in pods
            ],
        },
    )


def _write(store: Store, resource: Resource, item: KubeObject) -> None:
    item = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
    if store.find(resource, item["metadata"]["namespace"], item["metadata"]["name"]) is None:
        store.create(resource, item)
    else:
        store.replace(resource, item)


def _port(port: KubeObject, pods: list[KubeObject]) -> KubeObject:
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, str) and not target.isdigit():
        target = next(
            (
                held["containerPort"]
                for pod in pods
                for container in pod["spec"]["containers"]
                for held in container.get("ports") or ()
                if held.get("name") == target
            ),
            port["port"],
        )
    result = {"port": int(target), "protocol": port.get("protocol", "TCP")}
    return {"name": port["name"], **result} if "name" in port else result


def _address(pod: KubeObject) -> KubeObject:
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": _target(pod),
    }


def _target(pod: KubeObject) -> KubeObject:
    metadata = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
