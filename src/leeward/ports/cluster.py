"""One cluster's Kubernetes API: what should run there, and what does.

Objects are plain dictionaries in the form of the Kubernetes API. Resource versions are opaque text.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

KubeObject = dict[str, Any]


class NotFoundError(Exception):
    """The object, namespace or kind does not exist."""


class ConflictError(Exception):
    """The object changed since the resource version that the request named."""


class RejectedError(Exception):
    """The API server understood and refused: invalid, forbidden, unauthorized. Repeating does not help."""


class BudgetError(Exception):
    """A disruption budget forbids the eviction at this moment; later it may not."""


class ExpiredError(Exception):
    """The resource version to watch from is gone: list again."""


class ClusterUnavailableError(Exception):
    """The API server did not answer in time; whether a change took effect is unknown."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and where the API serves it."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICES = Resource("", "v1", "services", "Service")
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
EVENTS = Resource("", "v1", "events", "Event")
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
SERVICE_EXPORTS = Resource("multicluster.x-k8s.io", "v1alpha1", "serviceexports", "ServiceExport")
SERVICE_IMPORTS = Resource("multicluster.x-k8s.io", "v1alpha1", "serviceimports", "ServiceImport")
VERTICAL_POD_AUTOSCALERS = Resource("autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler")

BUILT_IN: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    CONFIG_MAPS,
    SECRETS,
    SERVICES,
    ENDPOINTS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    SERVICE_ACCOUNTS,
    RESOURCE_QUOTAS,
    LIMIT_RANGES,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    PRIORITY_CLASSES,
    STORAGE_CLASSES,
    CUSTOM_RESOURCE_DEFINITIONS,
)
"""Kinds that every cluster of ours serves. Others are found by asking the API server."""
MULTI_CLUSTER_SERVICES = (SERVICE_EXPORTS, SERVICE_IMPORTS)
"""Kinds that a cluster serves when they were installed; the world's clusters do."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects as of one resource version: watch from there to miss nothing."""

    items: tuple[KubeObject, ...]
    resource_version: str


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change; ``item`` is the object after it, or as it was last."""

    change: Change
    item: KubeObject


class Cluster(Protocol):
    """Read and change objects. Every call has a deadline in seconds, and may be repeated.

    All raise ClusterUnavailableError when there is no answer in time, RejectedError when refused.
    """

    async def apply(self, item: KubeObject, *, timeout_s: float) -> KubeObject:
        """Make the fields of ``item`` so (server-side apply, forced), leaving others' fields alone.

        Fields that an earlier apply set and this one leaves out are removed. Returns the whole object.
        Raises NotFoundError for a missing namespace or unknown kind; ConflictError for an old resource
        version in ``item``.
        """
        ...

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, timeout_s: float) -> KubeObject:
        """Return one object. Raises NotFoundError."""
        ...

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float,
    ) -> Listing:
        """Return the objects of a namespace, or of all of them."""
        ...

    def watch(
        self,
        resource: Resource,
        *,
        resource_version: str | None = None,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float,
    ) -> AsyncIterator[WatchEvent]:
        """Yield every change after ``resource_version``, in order.

        Without a resource version, what exists comes first, as ADDED.
        Reconnects and goes on from where it was. Raises ExpiredError when it cannot, and
        ClusterUnavailableError when the API server was out of reach for ``timeout_s``.
        """
        ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        grace_s: int | None = None,
        timeout_s: float,
    ) -> None:
        """Delete an object and, in the background, what it owns. Raises NotFoundError."""
        ...

    async def evict(self, name: str, *, namespace: str, timeout_s: float) -> None:
        """Delete a pod, as its disruption budget allows. Raises NotFoundError; BudgetError when it does not now."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: KubeObject,
        *,
        namespace: str | None = None,
        subresource: str = "",
        timeout_s: float,
    ) -> KubeObject:
        """Apply a JSON merge patch (null removes a field) and return the object.

        Raises NotFoundError; ConflictError for an old resource version in the patch.
        """
        ...

    def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str | None = None,
        follow: bool = False,
        tail_lines: int | None = None,
        previous: bool = False,
        timeout_s: float,
    ) -> AsyncIterator[bytes]:
        """Yield a container's log in pieces; with ``follow``, until the container ends.

        ``timeout_s`` is for the first answer. Raises NotFoundError.
        """
        ...
