"""What a region takes in of its manifests while it runs."""

import base64
import json
from pathlib import Path

import pytest

from leeward.ports.cluster import CONFIG_MAPS, SECRETS, KubeObject
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.manifests import ManifestError, Manifests
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.store import Store


def secret(text: str) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "identity"}, "stringData": {"key": text}}


def setting(text: str) -> KubeObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": text}}


class Region:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "objects.json"
        self.registry = Registry(Store())
        self.manifests = Manifests(directory, self.registry)

    def write(self, *items: KubeObject) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps([namespace(), *items]))
        fresh.replace(self.path)

    @property
    def held(self) -> tuple[str, str]:
        """What the Secret and the ConfigMap say."""
        one = self.registry.store.find(SECRETS, "default", "identity")
        other = self.registry.store.find(CONFIG_MAPS, "default", "settings")
        assert one is not None
        assert other is not None
        return base64.b64decode(one["data"]["key"]).decode(), other["data"]["key"]


def namespace() -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}


@pytest.fixture
def region(tmp_path: Path) -> Region:
    built = Region(tmp_path)
    built.write(secret("first"), setting("first"))
    built.manifests.apply()
    return built


def test_secrets_are_followed_and_nothing_else(region: Region) -> None:
    assert region.held == ("first", "first")
    region.write(secret("second"), setting("second"))
    region.manifests.look()
    assert region.held == ("second", "first")


def test_what_did_not_change_is_not_written_again(region: Region) -> None:
    version = region.registry.store.version
    region.manifests.look()
    region.write(secret("first"), setting("second"))
    region.manifests.look()
    assert region.registry.store.version == version


def test_what_cannot_be_read_changes_nothing_until_it_can(region: Region) -> None:
    region.path.write_text("[")
    with pytest.raises(ManifestError):
        region.manifests.look()
    assert region.held == ("first", "first")
    region.write(secret("second"), setting("first"))
    region.manifests.look()
    assert region.held == ("second", "first")


def test_a_secret_that_was_refused_is_tried_again(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else would: the file does not change any more."""
    region.write(secret("new"), setting("old"))
    with monkeypatch.context() as full:
        full.setattr(region.registry, "apply_manifest", _refuse)
        with pytest.raises(ManifestError, match="no room"):
            region.manifests.look()
    region.manifests.look()
    assert region.held[0] == "new"


def _refuse(_item: KubeObject, *, manager: str) -> None:
    raise ApiError(507, "Invalid", f"no room for {manager}")
