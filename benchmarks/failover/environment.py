"""Patroni's own environment, thrown away after use: nothing of it reaches Leeward's."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
BUILD_REQUIREMENTS = Path(__file__).with_name("requirements-build.txt")
INSTALL_TIMEOUT_S = 600


@contextmanager
def patroni_environment() -> Iterator[Path]:
    """Yield the interpreter of a new environment with what requirements.txt pins. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="leeward-patroni-") as directory:
        python = Path(directory) / "bin" / "python"
        _run([sys.executable, "-m", "venv", directory])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        # One package of Patroni's comes as source only: it is built with what is pinned, too.
        _run([*pip, "--requirement", str(BUILD_REQUIREMENTS)])
        _run([*pip, "--no-build-isolation", "--requirement", str(REQUIREMENTS)])
        yield python


def patroni_version(python: Path) -> str:
    """Return the version installed."""
    code = "from importlib.metadata import version; print(version('patroni'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_S, stdout=subprocess.DEVNULL)
