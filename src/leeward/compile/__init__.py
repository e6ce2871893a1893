"""From what the user wrote to Kubernetes objects: pure functions, one module per concern."""

from leeward.compile.cluster import compile_cluster, compile_parts
from leeward.compile.kube.objects import KubeObject
from leeward.compile.part import Part
from leeward.compile.region.settings import agent_settings
from leeward.compile.regional import compile_region
from leeward.compile.target import (
    DatabasePasswords,
    EngineCommands,
    GatewayStart,
    Images,
    QuorumMember,
    SecretValues,
    Target,
    kubernetes_target,
    world_target,
)

__all__ = [
    "DatabasePasswords",
    "EngineCommands",
    "GatewayStart",
    "Images",
    "KubeObject",
    "Part",
    "QuorumMember",
    "SecretValues",
    "Target",
    "agent_settings",
    "compile_cluster",
    "compile_parts",
    "compile_region",
    "kubernetes_target",
    "world_target",
]
