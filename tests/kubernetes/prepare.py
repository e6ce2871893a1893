"""Build the API server and fetch what is tested against: ``python -m tests.kubernetes.prepare [PROGRAM ...]``.

Once per pinned version: about seven minutes of one core, with a Go that is new enough and a module proxy within reach.
Everything lands in the cache (tests/kubernetes/programs.py); tests themselves neither compile nor download.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kubernetes import programs
from tests.kubernetes.definitions import fetch, missing_modules

COMMAND = "python -m tests.kubernetes.prepare"


def why_not() -> str | None:
    """Say why the tests against a real API server cannot run and what to do; None when they can."""
    modules = missing_modules()
    missing = programs.missing_program() or (f"{modules[0].path} has not been fetched" if modules else None)
    if missing is None:
        return None
    return f"{missing}. {_go_wanted() or f'Run: {COMMAND} (about 7 minutes, once; or set KUBEBUILDER_ASSETS)'}"


def build(name: str) -> None:
    """Build a program of the control plane. Raises CalledProcessError, with the compiler's words already shown."""
    target, version = programs.program(name), programs.kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    said = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in said.items())
    partial = target.with_suffix(".partial")
    # One package at a time and last in line: the machine may be measuring something.
    compiler = ["nice", "-n", "19", "go", "build", "-p", "1", "-trimpath"]
    subprocess.run(
        [*compiler, "-ldflags", f"-s -w {flags}", "-o", str(partial), f"./{name}"],
        cwd=programs.MODULE,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
        check=True,
    )
    partial.replace(target)


def main(arguments: list[str]) -> int:
    """Prepare the named programs (the API server, if none is named) and every definition."""
    if wanted := _go_wanted():
        print(wanted, file=sys.stderr)
        return 2
    programs.cache_dir().mkdir(parents=True, exist_ok=True)
    with (programs.cache_dir() / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be at it
        for module in missing_modules():
            with _timed(f"fetch {module.path} {module.version}"):
                fetch(module)
        if "KUBEBUILDER_ASSETS" not in os.environ:
            for name in arguments or [programs.API_SERVER]:
                target = programs.program(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    with _timed(f"build {name} {programs.kubernetes_version()}"):
                        build(name)
    return 0


def _go_wanted() -> str | None:
    """Say which Go is needed, if it is not there."""
    needed, found = programs.go_needed(), programs.go_found()
    if found is not None and found >= needed:
        return None
    has = "there is none" if found is None else f"this one is {'.'.join(map(str, found))}"
    return f"Needs Go {'.'.join(map(str, needed))} or newer, and {has}."


@contextmanager
def _timed(what: str) -> Iterator[None]:
    print(what, end=" ", file=sys.stderr, flush=True)
    began_s = time.monotonic()
    yield
    print(f"{time.monotonic() - began_s:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
