import json
import os
import pwd
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = os.pathsep.join([str(ROOT), str(ROOT / "src"), sysconfig.get_path("purelib")])
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": MODULES, "PYTHONDONTWRITEBYTECODE": "1"}


def user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def as_user(command: list[str]) -> subprocess.CompletedProcess[str]:
    who = user()
    change = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, capture_output=True, text=True, timeout=60, cwd="/", env=ENVIRONMENT, check=False, **change
    )


def interpreter() -> str:
    """Return a Python that user may run: ours may live below root's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"]
    for candidate in candidates:
        try:
            if as_user([candidate, "-c", "import leeward.world.client"]).returncode == 0:
                return candidate
        except PermissionError:
            continue
    raise AssertionError(f"{user().pw_name} can run none of {candidates}")


@pytest.mark.world
def test_a_normal_user_gets_a_full_world(home: Path) -> None:
    who = user()
    os.chown(home, who.pw_uid, who.pw_gid)
    outcome = as_user([interpreter(), str(ROOT / "tests/world/ordinary_user.py"), str(home)])
    assert outcome.returncode == 0, outcome.stderr
    seen = json.loads(outcome.stdout)
    assert seen.pop("rtt_s") >= 0.150
    assert seen.pop("frozen") >= 5
    assert seen == {
        "isolation": "user-namespace",
        "uids": [who.pw_uid],
        "states": ["lost", "frozen", "running"],
        "left": [],
    }
