"""A part of a cluster: what belongs together, a folder of the tree."""

from dataclasses import dataclass

from leeward.compile.kube.objects import KubeObject


@dataclass(frozen=True, slots=True)
class Part:
    """Objects that belong together: a folder of the tree."""

    kind: str
    """``apps`` or ``infrastructure``."""
    name: str
    objects: tuple[KubeObject, ...]
