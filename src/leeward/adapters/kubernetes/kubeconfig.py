"""How a user connects to a cluster, as with kubectl: kubeconfig files, contexts, credential plugins.

``--kubeconfig`` alone, else the files that KUBECONFIG lists, merged, else ``~/.kube/config``. Where several files set
the same thing, the first one counts.
"""

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from leeward.adapters.kubernetes.transport import Connection
from leeward.base.problem import Problem, ProblemsError
from leeward.base.suggestions import suggestion

PLUGIN_S = 60.0
"""How long a credential plugin may take: some ask the person something in a browser."""
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Merged files: every entry by name, with the directory that its relative paths start from."""

    where: str
    """The files, for messages."""
    contexts: Mapping[str, tuple[Entry, Path]]
    clusters: Mapping[str, tuple[Entry, Path]]
    users: Mapping[str, tuple[Entry, Path]]


def read(given: Path | None, environment: Mapping[str, str]) -> Kubeconfig:
    """Return the merged files. Raises ProblemsError when no file exists, or one cannot be read."""
    files = _files(given, environment)
    found: dict[str, dict[str, tuple[Entry, Path]]] = {"contexts": {}, "clusters": {}, "users": {}}
    # Of several files some may be missing, as with kubectl; one alone must be there.
    there = [file for file in files if file.exists()]
    where = ", ".join(map(str, there or files))
    if not there:
        raise _failed("no-kubeconfig", where, "no kubeconfig was found", "no such file", "name one: --kubeconfig FILE")
    for file in there:
        for kind, entries in found.items():
            for entry in _document(file).get(kind) or ():
                # clusters: [{name: x, cluster: {...}}], and so on.
                entries.setdefault(str(entry["name"]), (entry.get(kind.removesuffix("s")) or {}, file.parent))
    return Kubeconfig(where, **found)


@contextmanager
def connection(config: Kubeconfig, context: str) -> Iterator[Connection]:
    """Yield the connection of a context. Keys that a file holds inline are on disk, for us alone, until the block ends.

    Raises ProblemsError for an unknown context, or one without a usable server.
    """
    entry, _ = _named(config, "context", context, config.contexts)
    cluster, beside = _named(config, "cluster", str(entry.get("cluster")), config.clusters)
    user: tuple[Entry, Path] = ({}, beside)
    if entry.get("user"):
        user = _named(config, "user", str(entry["user"]), config.users)
    if not cluster.get("server"):
        raise _failed(
            "kubeconfig-incomplete",
            config.where,
            f"context {context} names no API server",
            f"its cluster {entry.get('cluster')} has no server",
            "fix the file, or let your provider's tool write it again",
        )
    if cluster.get("proxy-url"):
        raise _failed(
            "kubeconfig-unsupported",
            config.where,
            f"context {context} uses a proxy",
            "Leeward connects to API servers directly only",
            "remove proxy-url; open a tunnel if you need one",
        )
    with TemporaryDirectory(prefix="leeward-") as directory:
        private = Path(directory)
        credentials, beside_user = user
        if "exec" in credentials:
            credentials = {**credentials, **_from_plugin(config, context, credentials["exec"], cluster)}
        yield Connection(
            url=str(cluster["server"]),
            ca_file=_file(cluster, "certificate-authority", beside, private),
            certificate_file=_file(credentials, "client-certificate", beside_user, private),
            key_file=_file(credentials, "client-key", beside_user, private),
            token_file=beside_user / credentials["tokenFile"] if "tokenFile" in credentials else None,
            token=credentials.get("token"),
            server_name=cluster.get("tls-server-name"),
            verified=not cluster.get("insecure-skip-tls-verify", False),
        )


def _files(given: Path | None, environment: Mapping[str, str]) -> Sequence[Path]:
    if given is not None:
        return [given]
    listed = [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    return listed or [Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"]


def _document(file: Path) -> Entry:
    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # The parser's message may quote the file, and the file holds keys.
        why = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise _failed("kubeconfig-unreadable", str(file), "the kubeconfig cannot be read", str(why)) from None
    if not isinstance(data, dict) or not all(
        isinstance(entry, dict) and "name" in entry
        for kind in ("contexts", "clusters", "users")
        for entry in data.get(kind) or ()
    ):
        raise _failed("kubeconfig-unreadable", str(file), "the kubeconfig cannot be read", "it is not a kubeconfig")
    return data


def _named(config: Kubeconfig, kind: str, name: str, entries: Mapping[str, tuple[Entry, Path]]) -> tuple[Entry, Path]:
    if name in entries:
        return entries[name]
    hint = suggestion(name, list(entries)) if entries else "let your provider's tool write one"
    fix = f"{hint}; or name one: --context CONTEXT, or context: in the Fleet's cluster" if kind == "context" else hint
    known = f"it has {', '.join(entries)}" if entries else "it has no entries of that kind"
    raise _failed(f"unknown-{kind}", config.where, f"the kubeconfig has no {kind} {name}", known, fix)


def _file(entry: Entry, key: str, beside: Path, private: Path) -> Path | None:
    """Return the file of a certificate or key; one that is inline is written where only we can read it."""
    inline = entry.get(f"{key}-data")
    if inline is None:
        return beside / entry[key] if key in entry else None
    try:
        content = base64.b64decode(inline, validate=False)
    except (binascii.Error, TypeError):
        raise _failed("kubeconfig-incomplete", key, f"{key}-data is not base64", "it cannot be decoded") from None
    path = private / f"{key}.pem"
    path.touch(0o600)
    path.write_bytes(content)
    return path


def _from_plugin(config: Kubeconfig, context: str, wanted: Entry, cluster: Entry) -> Entry:
    """Return a credential plugin's output as a user's entry. It inherits the environment, as with kubectl."""
    about: dict[str, Any] = {"interactive": False}
    if wanted.get("provideClusterInfo"):
        about["cluster"] = {key: cluster[key] for key in ("server", "certificate-authority-data") if key in cluster}
    version = str(wanted.get("apiVersion", "client.authentication.k8s.io/v1"))
    exec_info = {"apiVersion": version, "kind": "ExecCredential", "spec": about}
    command = [str(wanted.get("command")), *map(str, wanted.get("args") or ())]
    added = {str(each["name"]): str(each["value"]) for each in wanted.get("env") or ()}

    def failed(why: str) -> ProblemsError:
        what = f"the credential plugin {command[0]} of context {context} returned no credentials"
        return _failed("no-credentials", config.where, what, why, f"run it by hand: {' '.join(command)}")

    try:
        ran = subprocess.run(
            command,
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(exec_info)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PLUGIN_S,
        )
    except OSError as error:
        raise failed(str(wanted.get("installHint") or error.strerror)) from None
    except subprocess.TimeoutExpired:
        raise failed(f"it did not answer within {PLUGIN_S:g} s") from None
    if ran.returncode != 0:
        raise failed(f"it ended with status {ran.returncode}; its error output is above")
    try:
        status = json.loads(ran.stdout)["status"]
    except (ValueError, KeyError, TypeError):
        raise failed("its output is not an ExecCredential") from None
    keys = {"clientCertificateData": "client-certificate-data", "clientKeyData": "client-key-data"}
    return {
        **({"token": status["token"]} if "token" in status else {}),
        # These are PEM, and a user's entry has base64.
        **{ours: base64.b64encode(status[key].encode()).decode() for key, ours in keys.items() if key in status},
    }


def _failed(code: str, where: str, what: str, why: str, fix: str = "fix the file") -> ProblemsError:
    return ProblemsError([Problem(code=code, where=where, what=what, why=why, fix=fix)])
