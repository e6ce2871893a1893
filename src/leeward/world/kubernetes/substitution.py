"""What a pod's texts mean where there are no containers, no DNS and no service addresses.

``$(VAR)`` is expanded as Kubernetes does it. A mount path becomes the real directory, and the name of a Service
the fixed address of the workload it selects. Texts are arguments, environment values and files of ConfigMaps.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from leeward.ports.cluster import DEPLOYMENTS, PODS, REPLICA_SETS, SERVICES, STATEFUL_SETS
from leeward.world.kubernetes.endpoints import selected_pods
from leeward.world.kubernetes.pods import POD_ADDRESS, annotation
from leeward.world.kubernetes.selectors import labels_of
from leeward.world.kubernetes.store import Store

_VARIABLE = re.compile(r"\$\$|\$\(([^()\s]+)\)")
_SERVICE = re.compile(
    r"(?<![\w.-])(?:(?P<pod>[a-z0-9-]+)\.)?(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)"
    r"\.svc(?:\.cluster\.local)?(?![\w-]|\.\w)"
)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with ``$(NAME)`` replaced; unknown names stay, and ``$$`` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _VARIABLE.sub(value, text)


class Substitution:
    """Replaces mount paths and Service names for one pod."""

    def __init__(self, mounts: Mapping[str, Path], address_of: Callable[[str, str, str], str | None]) -> None:
        """Take the real path of every mount path, and a function from pod, Service and namespace to an address."""
        self._mounts = {path.rstrip("/"): real for path, real in mounts.items() if path.rstrip("/")}
        longest_first = sorted(self._mounts, key=len, reverse=True)
        # A path begins where no other path goes on, and ends at a slash or where no name goes on.
        self._paths = re.compile(r"(?<![\w./-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w.-])")
        self._address_of = address_of
        self.unresolved: set[str] = set()
        """Service names that stayed as they were."""

    def __call__(self, text: str) -> str:
        """Return the text as a process here needs it."""
        if self._mounts:
            text = self._paths.sub(lambda found: str(self._mounts[found[0]]), text)
        return _SERVICE.sub(self._address, text)

    def _address(self, found: re.Match[str]) -> str:
        address = self._address_of(found["pod"] or "", found["name"], found["namespace"])
        if address is None:
            self.unresolved.add(found[0])
            return found[0]
        return address


def fixed_address(store: Store, pod: str, service: str, namespace: str) -> str | None:
    """Return the address behind ``[POD.]SERVICE.NAMESPACE.svc``: that of its workload's template, or None."""
    item = store.find(SERVICES, namespace, service)
    if item is None:
        return None
    selector = (item.get("spec") or {}).get("selector") or {}
    for resource in (STATEFUL_SETS, DEPLOYMENTS, REPLICA_SETS):
        for workload in store.list(resource, namespace):
            template = workload["spec"]["template"]
            labels = (template.get("metadata") or {}).get("labels") or {}
            address = annotation(template, POD_ADDRESS)
            named = not pod or pod.rpartition("-")[0] == workload["metadata"]["name"]
            if address is not None and selector and named and selector.items() <= labels.items():
                return address
    held = store.find(PODS, namespace, pod) if pod else None
    candidates = [held] if held is not None else selected_pods(store, item)
    for candidate in candidates:
        if annotation(candidate, POD_ADDRESS) and selector.items() <= labels_of(candidate).items():
            return annotation(candidate, POD_ADDRESS)
    return None
