"""From what the user wrote to Kubernetes objects: pure functions, one module per concern."""

from leeward.compile.cluster import compile_cluster, compile_parts
from leeward.compile.objects import KubeObject
from leeward.compile.part import Part
from leeward.compile.region import compile_region
from leeward.compile.settings import agent_settings
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
from leeward.compile.tree import tree

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
    "tree",
    "world_target",
]
