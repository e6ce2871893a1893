"""The objects that a region starts with; Secrets among them are followed while it runs: certificates are renewed.

Other changes there are ignored: objects are changed at the API server.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from leeward.kit.loops import Expected, repeat
from leeward.ports.cluster import KubeObject
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.registry import Registry

FIELD_MANAGER = "leeward"
LOOK_EVERY_S = 1.0
Stamp = tuple[tuple[str, int, int], ...]


class ManifestError(Exception):
    """A manifest cannot be read or applied."""


class Manifests:
    """The ``*.json`` files of one directory, in order of their names."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        self._directory = directory
        self._registry = registry
        self._read_at: Stamp = ()
        self._secrets: list[KubeObject] = []

    def apply(self) -> None:
        """Apply all objects. Raises ManifestError, OSError."""
        for item in self._read():
            self._apply(item)

    async def follow(self) -> None:
        """Apply Secrets that change, until cancelled."""
        await asyncio.sleep(LOOK_EVERY_S)
        unreadable = Expected((ManifestError, OSError), None, "failed to read manifests")
        await repeat("read manifests", self.look, every_s=LOOK_EVERY_S, expected=(unreadable,))

    def look(self) -> None:
        """Apply what changed since the last look. Raises ManifestError, OSError."""
        if self._stamp() == self._read_at:
            return
        before = self._secrets
        try:
            self._read()
            self._apply_others(before)
        except (ManifestError, OSError):
            self._read_at = ()  # the next look tries again
            raise

    def _apply_others(self, before: Sequence[KubeObject]) -> None:
        """Apply each Secret that is not among these. Raises ManifestError for all that are refused."""
        refused: list[tuple[KubeObject, ManifestError]] = []
        for item in self._secrets:
            if item not in before:
                try:
                    self._apply(item)
                except ManifestError as error:
                    refused.append((item, error))
        if refused:
            items = [item for item, _ in refused]
            self._secrets = [item for item in self._secrets if item not in items]
            raise ManifestError("; ".join(str(error) for _, error in refused))

    def _read(self) -> list[KubeObject]:
        # Before the files: what is written meanwhile is seen by the next look.
        self._read_at = self._stamp()
        items: list[KubeObject] = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                content = json.loads(path.read_text())
            except ValueError as error:
                raise ManifestError(f"{path}: {error}") from error
            if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
                raise ManifestError(f"{path}: a JSON list of Kubernetes objects is needed")
            items += content
        self._secrets = [item for item in items if item.get("kind") == "Secret"]
        return items

    def _apply(self, item: KubeObject) -> None:
        try:
            self._registry.apply_manifest(item, manager=FIELD_MANAGER)
        except ApiError as error:
            name = (item.get("metadata") or {}).get("name")
            raise ManifestError(f"{item.get('kind')} {name}: {error.message}") from error

    def _stamp(self) -> Stamp:
        stats = [(path.name, path.stat()) for path in sorted(self._directory.glob("*.json"))]
        return tuple((name, found.st_ino, found.st_mtime_ns) for name, found in stats)
