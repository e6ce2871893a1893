"""What commands import decides how long they take: status, get and validate answer within half a second.

typer itself imports pydantic to convert values, so it is not among what must be absent; our models are.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from leeward.world import identity

HELLO = str(Path(__file__).parents[2] / "examples" / "hello")
HEAVY = (
    "aiohttp.web",
    "cryptography",
    "dns",
    "jsonpatch",
    "prometheus_client",
    "psutil",
    "psycopg",
    "rich",
    "structlog",
)
OURS = ("agent", "compile", "drill", "instance", "sim")
# A world whose agents and API servers do not answer: everything up to the first answer is imported.
PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from types import SimpleNamespace

    from leeward.cli.main import main
    from leeward.operate import worlds
    from leeward.world.model import RegionInfo, RegionState, WorldInfo

    URL = "https://127.0.0.1:1"
    place = Path(sys.argv.pop(1))
    region = RegionInfo(name="us", index=1, state=RegionState.RUNNING, because="it runs", pid=1, directory=str(place),
        gateway_url=URL, agent_url=URL, api_url=URL, dns_host="127.0.0.1", dns_port=1)
    info = WorldInfo(name="w", fleet="atlas", directory=str(place), isolation="none", not_emulated=(), janitor_pid=1,
        supervisor_pid=1, wan_pid=1, started_at_unix_s=0.0, files=(), regions=(region,))

    class World(SimpleNamespace):
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return

        async def info(self):
            return info

    worlds.choose = lambda name: World(directory=place, operator_directory=place / "operator")
    status = main()
    print("modules", *sys.modules)
    sys.exit(status)
    """
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("world")
    identity.put(found / "operator", identity.create("atlas", {"us": 1}).operator)
    return found


def imported(place: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Run a command in a process of its own; return its status, every module that it imported, and its errors."""
    command = [sys.executable, "-c", PROGRAM, str(place), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    last = result.stdout.splitlines()[-1] if result.stdout else ""
    assert last.startswith("modules "), result.stderr
    return result.returncode, set(last.split()[1:]), result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        pytest.param(("status",), 1, "no agent knows the quorum's state", id="status"),
        pytest.param(("status", "-o", "json"), 1, '"silent"', id="status in JSON"),
        pytest.param(("get", "pods", "-r", "us"), 2, "error[api-server]", id="get"),
        pytest.param(("records",), 2, "error[no-agent]", id="records"),
        pytest.param(("wait", "shop", "--timeout", "1ms"), 5, "error[timed-out]", id="wait"),
        pytest.param(("switchover", "shop", "--to", "us"), 2, "error[no-agent]", id="switchover"),
    ],
)
def test_what_asks_a_running_fleet_reads_no_files_and_signs_nothing(
    place: Path, arguments: tuple[str, ...], status: int, text: str
) -> None:
    found, modules, output = imported(place, *arguments)
    assert (found, text in output) == (status, True), output
    assert modules & {*HEAVY, "yaml", "leeward.spec", *(f"leeward.{each}" for each in OURS)} == set()


def test_validate_contacts_nothing(place: Path) -> None:
    found, modules, output = imported(place, "validate", "-f", HELLO)
    assert found == 0, output
    # The world that the program above replaces.
    elsewhere = {f"leeward.{each}" for each in OURS}
    assert modules & {*HEAVY, *elsewhere} == set()
