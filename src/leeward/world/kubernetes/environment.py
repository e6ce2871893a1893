"""The environment and the command line of a container, as Kubernetes defines them, in terms of this machine."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeward.ports.cluster import CONFIG_MAPS, SECRETS, KubeObject
from leeward.world.kubernetes.processes import Program
from leeward.world.kubernetes.store import Store
from leeward.world.kubernetes.substitution import Substitution, expand
from leeward.world.kubernetes.volumes import MissingError, keys_of

POSTGRES_ENGINE = "postgres"
POSTGRES_VARIABLE = "LEEWARD_POSTGRES_BIN"
"""The environment variable with the directory of PostgreSQL's programs."""
_CONFIG_ERROR = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class Engines:
    """Programs that this machine offers under a name of their own: executables, and PostgreSQL's directory."""

    paths: Mapping[str, Path]

    def resolve(self, command: str, search_path: str) -> str | None:
        """Return the file to execute, or None."""
        if command in ("python", "python3"):
            return sys.executable
        if command in self.paths and command != POSTGRES_ENGINE:
            return str(self.paths[command])
        return shutil.which(command, path=search_path)


def program_of(
    store: Store,
    pod: KubeObject,
    container: KubeObject,
    *,
    directory: Path,
    engines: Engines,
    substitute: Substitution,
    identity: str,
) -> Program:
    """Return what to execute for a container. Raises MissingError while something it names does not exist."""
    declared = _declared(store, pod, container)
    environment = _base(pod, directory, engines)
    environment.update({name: substitute(value) for name, value in declared.items()})
    words = [
        substitute(expand(str(word), declared))
        for word in [*(container.get("command") or ()), *(container.get("args") or ())]
    ]
    if not container.get("command"):
        raise MissingError(_CONFIG_ERROR, f"container {container['name']} has no command: images are not supported")
    found = engines.resolve(words[0], environment["PATH"])
    if found is None:
        raise MissingError(_CONFIG_ERROR, f"no program {words[0]!r} on this machine")
    wanted = Path(substitute(container["workingDir"])) if container.get("workingDir") else directory
    return Program(
        arguments=[found, *words[1:]],
        environment=environment,
        directory=wanted if wanted.is_dir() else directory,
        identity=identity,
        translate=substitute,
    )


def _base(pod: KubeObject, directory: Path, engines: Engines) -> dict[str, str]:
    """Return what every container gets. Nothing else of our own environment reaches it."""
    search = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment = {
        "PATH": os.pathsep.join(search),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
        "HOSTNAME": pod["metadata"]["name"],
    }
    if POSTGRES_ENGINE in engines.paths:
        environment[POSTGRES_VARIABLE] = str(engines.paths[POSTGRES_ENGINE])
    return environment


def _declared(store: Store, pod: KubeObject, container: KubeObject) -> dict[str, str]:
    """Return the variables of ``envFrom`` and ``env``, later ones over earlier ones, expanded in order."""
    namespace = pod["metadata"]["namespace"]
    declared: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        resource = CONFIG_MAPS if "configMapRef" in source else SECRETS
        reference = source["configMapRef" if "configMapRef" in source else "secretRef"]
        content = keys_of(store, resource, namespace, reference["name"])
        if content is None and not reference.get("optional"):
            raise MissingError(_CONFIG_ERROR, f'{resource.kind.lower()} "{reference["name"]}" not found')
        for key, data in (content or {}).items():
            declared[source.get("prefix", "") + key] = data.decode()
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            value = _value_from(store, pod, variable["valueFrom"])
        else:
            value = expand(str(variable.get("value", "")), declared)
        if value is not None:
            declared[variable["name"]] = value
    return declared


def _value_from(store: Store, pod: KubeObject, source: KubeObject) -> str | None:
    for kind, resource in (("configMapKeyRef", CONFIG_MAPS), ("secretKeyRef", SECRETS)):
        if kind in source:
            reference = source[kind]
            content = keys_of(store, resource, pod["metadata"]["namespace"], reference["name"]) or {}
            if reference["key"] in content:
                return content[reference["key"]].decode()
            if reference.get("optional"):
                return None
            what = f'{resource.kind.lower()} "{reference["name"]}"'
            raise MissingError(_CONFIG_ERROR, f"{what} with key {reference['key']} not found")
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    raise MissingError(_CONFIG_ERROR, f"valueFrom {', '.join(source)} is not supported by this cluster")


def _field(pod: KubeObject, path: str) -> str:
    """Return a field of the pod: ``status.podIP``, or ``metadata.labels['app']``."""
    plain, _, key = path.partition("['")
    value: Any = pod
    for part in [*plain.split("."), *([key.removesuffix("']")] if key else [])]:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        if key:
            return ""
        raise MissingError(_CONFIG_ERROR, f"the pod has no field {path}")
    return str(value)
