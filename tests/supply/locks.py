"""What the lock files pin."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNTIME, DEVELOPMENT, INSTALLER = "requirements.lock", "requirements-dev.lock", "requirements-installer.lock"
LOCKS = (RUNTIME, DEVELOPMENT, INSTALLER)
PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?![0-9a-f])")


def entries(lock: str) -> list[str]:
    """Return a lock file's requirements, each on one line with its hashes."""
    lines = (ROOT / lock).read_text("utf-8").replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def pins(lock: str) -> dict[str, str]:
    """Return each package's version. Raises ValueError for a requirement that is not exactly one version."""
    found = {}
    for entry in entries(lock):
        match = PIN.match(entry)
        if match is None:
            raise ValueError(f"{lock}: {entry} is not a pin")
        found[match["name"]] = match["version"]
    return found
