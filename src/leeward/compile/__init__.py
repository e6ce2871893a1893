"""From what the user wrote to Kubernetes objects: pure functions, one module per concern."""

from leeward.compile.objects import KubeObject
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

__all__ = [
    "DatabasePasswords",
    "EngineCommands",
    "GatewayStart",
    "Images",
    "KubeObject",
    "QuorumMember",
    "SecretValues",
    "Target",
    "agent_settings",
    "compile_region",
    "kubernetes_target",
    "world_target",
]
