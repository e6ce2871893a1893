"""The custom resource definitions of others, out of their Go modules, as definitions.toml pins them.

``fetch`` brings them into the cache with the go command, which asks the checksum database about them; the sums pinned
here are compared besides. Nothing of them is part of this repository.
"""

import hashlib
import json
import os
import subprocess
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from leeward.ports.cluster import KubeObject
from tests.kubernetes.programs import cache_dir

PINS = Path(__file__).parent / "definitions.toml"
FETCH_S = 600.0


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a lone equals sign and a date are text."""


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


for _tag in ("value", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """Files with definitions in one Go module."""

    path: str
    version: str
    sum: str
    """What go.sum calls h1: the hash of the module's files."""
    files: tuple[str, ...]

    @property
    def cached(self) -> Path:
        """Where its definitions are kept; another pin is another file."""
        digest = hashlib.sha256("\n".join((self.sum, *self.files)).encode()).hexdigest()[:12]
        return cache_dir() / "definitions" / f"{self.path.replace('/', '+')}@{self.version}-{digest}.json"


def modules() -> list[Module]:
    """Return every module pinned."""
    rows = tomllib.loads(PINS.read_text("utf-8"))["module"]
    return [Module(**{**row, "files": tuple(row["files"])}) for row in rows]


def unchecked() -> set[tuple[str, str]]:
    """Return API version and kind of every kind whose definition cannot be had, and was not given."""
    rows = tomllib.loads(PINS.read_text("utf-8"))["unchecked"]
    served = {
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"])
        for item in given()
        for version in item["spec"]["versions"]
    }
    return {(row["api_version"], kind) for row in rows for kind in row["kinds"]} - served


def given() -> list[KubeObject]:
    """Return the definitions in the YAML files of LEEWARD_DEFINITIONS, a directory: what no module holds."""
    directory = os.environ.get("LEEWARD_DEFINITIONS")
    files = sorted(Path(directory).glob("*.yaml")) if directory else []
    items = [item for file in files for item in yaml.load_all(file.read_text("utf-8"), _Loader) if item]
    return [_alone(item) for item in items if item["kind"] == "CustomResourceDefinition"]


def missing_modules() -> list[Module]:
    """Return the modules that are not in the cache."""
    return [module for module in modules() if not module.cached.exists()]


def definitions() -> list[KubeObject]:
    """Return every definition. All modules must be in the cache."""
    pinned = [item for module in modules() for item in json.loads(module.cached.read_text("utf-8"))]
    return [*pinned, *given()]


def fetch(module: Module) -> None:
    """Bring a module's definitions into the cache. Raises RuntimeError when the module cannot be had or is another."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{module.path}@{module.version}"],
        cwd=cache_dir(),  # outside of any module
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=FETCH_S,
    )
    answer = json.loads(told.stdout or "{}")
    if told.returncode != 0:
        raise RuntimeError(f"{module.path}@{module.version}: {answer.get('Error') or told.stderr.strip()}")
    if answer["Sum"] != module.sum:
        raise RuntimeError(f"{module.path}@{module.version} is {answer['Sum']}, and {PINS.name} pins {module.sum}")
    module.cached.parent.mkdir(parents=True, exist_ok=True)
    partial = module.cached.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(_definitions_in(Path(answer["Zip"]), module)), "utf-8")
    partial.replace(module.cached)


def _definitions_in(archive: Path, module: Module) -> list[KubeObject]:
    found: list[KubeObject] = []
    with zipfile.ZipFile(archive) as content:
        for file in module.files:
            text = content.read(f"{module.path}@{module.version}/{file}").decode()
            items = [item for item in yaml.load_all(text, _Loader) if item]
            assert items, f"{file} of {module.path} is empty"
            found += [_alone(item) for item in items if item["kind"] == "CustomResourceDefinition"]
    return found


def _alone(item: KubeObject) -> KubeObject:
    """Return a definition that works without its controller: no webhook converts between versions."""
    item["spec"].pop("conversion", None)
    item.pop("status", None)
    return item
