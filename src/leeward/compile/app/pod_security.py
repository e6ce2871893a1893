"""PodSecurityPolicy, which Kubernetes 1.25 removed, translated: the standard that is at least as strict, and the rest.

The standards have only three levels. What a policy fixes beyond them is reported, with its replacement today.
``leeward render`` does so for each policy beside the files. Namespaces of applications are restricted anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem, ProblemsError

BASELINE_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
RESTRICTED_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
)
LEVELS = ("restricted", "baseline", "privileged")


@dataclass(frozen=True, slots=True)
class Translation:
    """What a policy becomes."""

    level: str
    """The strictest standard under which every pod the policy admits would still run."""
    reasons: tuple[str, ...]
    """Why it is not a stricter one."""
    beyond: tuple[str, ...]
    """What the policy fixes and no standard does, with its replacement today."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels for a namespace."""
        return {f"pod-security.kubernetes.io/{mode}": self.level for mode in ("enforce", "audit", "warn")}


def is_policy(document: Any) -> bool:
    """Return whether a document is a PodSecurityPolicy."""
    return isinstance(document, dict) and document.get("kind") == "PodSecurityPolicy"


def translate(policy: Mapping[str, Any]) -> Translation:
    """Return the translation of a policy document. Raises ProblemsError for an unreadable one."""
    spec = policy.get("spec") or {}
    try:
        privileged = list(_needs_privileged(spec))
        baseline = list(_needs_baseline(spec))
        beyond = tuple(_beyond(spec))
    except (AttributeError, KeyError, TypeError) as error:
        raise ProblemsError(
            [
                Problem(
                    code="policy-unreadable",
                    where=f"PodSecurityPolicy {(policy.get('metadata') or {}).get('name', 'without a name')}",
                    what="it cannot be translated",
                    why=f"{type(error).__name__}: {error}",
                    fix="take it from a cluster as it is: kubectl get podsecuritypolicy NAME -o yaml",
                )
            ]
        ) from None
    level = "privileged" if privileged else "baseline" if baseline else "restricted"
    return Translation(level, tuple(privileged or baseline), beyond)


def _needs_privileged(spec: Mapping[str, Any]) -> list[str]:
    reasons = [f"{key} is allowed" for key in ("privileged", "hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if spec.get("hostPorts"):
        reasons.append("host ports are allowed")
    volumes = set(spec.get("volumes", ()))
    if volumes & {"*", "hostPath"}:
        reasons.append("hostPath volumes are allowed")
    added = set(spec.get("allowedCapabilities", ())) | set(spec.get("defaultAddCapabilities", ()))
    beyond = sorted(added - BASELINE_CAPABILITIES)
    if beyond:
        reasons.append(f"capabilities {', '.join(beyond)} are allowed")
    if spec.get("allowedUnsafeSysctls"):
        reasons.append("unsafe sysctls are allowed")
    return reasons


def _needs_baseline(spec: Mapping[str, Any]) -> list[str]:
    reasons = []
    if spec.get("allowPrivilegeEscalation", True):
        reasons.append("privilege escalation is allowed")
    if spec.get("runAsUser", {}).get("rule") not in ("MustRunAsNonRoot", "MustRunAs"):
        reasons.append("running as root is allowed")
    elif any(each["min"] == 0 for each in spec["runAsUser"].get("ranges", ())):
        reasons.append("the range of users includes root")
    if "ALL" not in spec.get("requiredDropCapabilities", ()):
        reasons.append("capabilities do not have to be dropped")
    added = set(spec.get("allowedCapabilities", ())) | set(spec.get("defaultAddCapabilities", ()))
    if added - {"NET_BIND_SERVICE"}:
        reasons.append("capabilities other than NET_BIND_SERVICE are allowed")
    volumes = set(spec.get("volumes", ())) - RESTRICTED_VOLUMES
    if volumes:
        reasons.append(f"volumes of kind {', '.join(sorted(volumes))} are allowed")
    return reasons


def _beyond(spec: Mapping[str, Any]) -> list[str]:
    result = []
    if spec.get("readOnlyRootFilesystem"):
        result.append("readOnlyRootFilesystem: set it in the pods, and require it with a ValidatingAdmissionPolicy")
    for key, name in (("fsGroup", "fsGroup"), ("supplementalGroups", "supplementalGroups")):
        if spec.get(key, {}).get("rule") == "MustRunAs":
            result.append(f"ranges of {name}: require them with a ValidatingAdmissionPolicy")
    if spec.get("runAsUser", {}).get("rule") == "MustRunAs":
        result.append("ranges of users: require them with a ValidatingAdmissionPolicy")
    if spec.get("allowedHostPaths"):
        result.append("allowedHostPaths: require them with a ValidatingAdmissionPolicy")
    return result
