"""A pod's volumes as directories, and where its mount paths really are.

Files of ConfigMaps and Secrets change all at once, as with a kubelet: a certificate is never seen with another one's
key. Files of Secrets are readable by their owner only. Claims live in DIRECTORY/volumes and outlive every pod; all
else lives in the pod's directory and goes with it.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from leeward.ports.cluster import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, SECRETS, KubeObject, Resource
from leeward.world.kubernetes.store import Store

PRIVATE_DIRECTORY = 0o700
_SECRET_FILE, _CONFIG_FILE = 0o600, 0o644
_DATA = "..data"


class MissingError(Exception):
    """Something a pod needs does not exist yet. ``reason`` is the CamelCase reason of the wait."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Directories:
    """Where one region keeps things on disk."""

    root: Path

    @property
    def logs(self) -> Path:
        """Containers' logs, by namespace and pod."""
        return self.root / "logs"

    @property
    def pods(self) -> Path:
        """What pods keep while they live."""
        return self.root / "pods"

    def pod(self, pod: KubeObject) -> Path:
        """Return the directory of one pod: short, since programs make unix sockets in it (107 bytes at most)."""
        return self.pods / str(pod["metadata"]["uid"])[:8]

    def claim(self, namespace: str, name: str) -> Path:
        """Return the directory of one persistent volume claim."""
        return self.root / "volumes" / namespace / name


def keys_of(store: Store, resource: Resource, namespace: str, name: str) -> dict[str, bytes] | None:
    """Return the content of a ConfigMap or Secret, or None when there is no such object."""
    item = store.find(resource, namespace, name)
    if item is None:
        return None
    if resource is SECRETS:
        return {key: base64.b64decode(text) for key, text in (item.get("data") or {}).items()}
    content = {key: str(text).encode() for key, text in (item.get("data") or {}).items()}
    return content | {key: base64.b64decode(text) for key, text in (item.get("binaryData") or {}).items()}


def locate(directories: Directories, pod: KubeObject) -> dict[str, Path]:
    """Return the directory of every volume, by its name. Raises MissingError for kinds that are not offered."""
    located: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            located[name] = directories.claim(pod["metadata"]["namespace"], claim)
        elif volume.keys() & {"configMap", "secret", "emptyDir"}:
            located[name] = directories.pod(pod) / name
        else:
            kinds = ", ".join(sorted(volume.keys() - {"name"})) or "no kind"
            raise MissingError("FailedMount", f"volume {name} is {kinds}, which this cluster does not support")
    return located


def mounts_of(container: KubeObject, located: dict[str, Path]) -> dict[str, Path]:
    """Return the real path behind each of a container's mount paths. Raises MissingError."""
    mounts: dict[str, Path] = {}
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in located:
            raise MissingError("FailedMount", f"container {container['name']} mounts an unknown volume {mount['name']}")
        mounts[mount["mountPath"]] = located[mount["name"]] / mount.get("subPath", "")
    return mounts


def fill(store: Store, pod: KubeObject, located: dict[str, Path], substitute: Callable[[str], str]) -> None:
    """Make the volumes' directories and write their files; repeat it to bring files up to date.

    Raises MissingError when a claim, ConfigMap or Secret that is not optional does not exist.
    """
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        directory = located[volume["name"]]
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            if store.find(PERSISTENT_VOLUME_CLAIMS, namespace, claim) is None:
                raise MissingError("FailedMount", f'persistentvolumeclaim "{claim}" not found')
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        if "configMap" in volume:
            source = volume["configMap"]
            content = _content(store, CONFIG_MAPS, namespace, source["name"], source)
            _show(directory, {path: _substituted(data, substitute) for path, data in content.items()}, _CONFIG_FILE)
        elif "secret" in volume:
            source = volume["secret"]
            _show(directory, _content(store, SECRETS, namespace, source["secretName"], source), _SECRET_FILE)


def _content(store: Store, resource: Resource, namespace: str, name: str, source: KubeObject) -> dict[str, bytes]:
    """Return relative paths and contents of a volume made of keys."""
    optional = bool(source.get("optional"))
    content = keys_of(store, resource, namespace, name)
    if content is None:
        if optional:
            return {}
        raise MissingError("FailedMount", f'{resource.kind.lower()} "{name}" not found')
    if "items" not in source:
        return content
    missing = [row["key"] for row in source["items"] if row["key"] not in content]
    if missing and not optional:
        raise MissingError("FailedMount", f'{resource.kind.lower()} "{name}" has no key {missing[0]}')
    return {row["path"]: content[row["key"]] for row in source["items"] if row["key"] in content}


def _substituted(data: bytes, substitute: Callable[[str], str]) -> bytes:
    try:
        return substitute(data.decode()).encode()
    except UnicodeDecodeError:
        return data


def _show(directory: Path, content: Mapping[str, bytes], mode: int) -> None:
    """Exchange a volume's files in one step; leave them alone when they are right already, so that watchers sleep on.

    What a pod sees are links into ``..data``, itself a link to the directory with the files.
    """
    current = directory / _DATA
    before = current.resolve() if current.is_symlink() else None
    if before is not None and _files(before) == content:
        return
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    for name, data in content.items():
        path = fresh / name
        path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    _link(current, fresh.name)
    wanted = {PurePath(name).parts[0] for name in content}
    for name in wanted:
        if not (directory / name).is_symlink():
            _link(directory / name, f"{_DATA}/{name}")
    for path in directory.iterdir():
        if path.name not in wanted and path.is_symlink() and os.readlink(path) == f"{_DATA}/{path.name}":
            path.unlink()
    if before is not None:
        shutil.rmtree(before)


def _link(path: Path, target: str) -> None:
    """Make a link, or exchange it in one step."""
    fresh = path.with_name(f"..{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)


def _files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if not path.is_dir()}
