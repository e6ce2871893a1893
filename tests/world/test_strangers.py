"""Other local users try to have our files removed, and to be asked in our world's place."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from leeward.base.problem import ProblemsError
from leeward.world import control_socket, places
from leeward.world.client import World, list_worlds
from leeward.world.control import ControlApi
from leeward.world.model import WorldConfig, WorldInfo
from leeward.world.places import Claim
from tests.world.strangers import STRANGER, acting_as, shared_place

# Its entry point, with a doctor who waits: what takes him longer than this he leaves out, and a busy machine is slow.
LEEWARD = """
import sys
from leeward.cli.main import main
from leeward.operate import machine
machine.DEADLINE_S = 60.0
sys.exit(main())
"""
COMMANDS = (
    ("worlds",),
    ("status",),
    ("info",),
    ("down",),
    ("down", "--world", "w"),
    ("status", "--world", "w"),
    ("doctor",),
)
"""Whatever looks for worlds, and doctor, which does so too."""


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A directory of ours that looks like a dead world; nothing of it may go."""
    path = tmp_path / "victim"
    path.mkdir(mode=0o700)
    for name in ("lock", "kept"):
        (path / name).write_text("precious")
    yield path
    assert {file.name: file.read_text() for file in path.iterdir()} == {"lock": "precious", "kept": "precious"}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory of temporary files, as /tmp is."""
    with shared_place() as path:
        yield path


def leeward(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LEEWARD_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", LEEWARD, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


LOOKS: dict[str, Callable[[], object]] = {
    "list_worlds": list_worlds,
    "remove_dead": places.remove_dead,
    "living": places.living,
    "open": lambda: World.open("w"),
    "claim": lambda: Claim("w"),
    "is_gone": lambda: places.is_gone(places.directory("w")),
}


def test_nobody_else_can_be_first_where_the_worlds_of_root_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEEWARD_HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert places.home() == Path("/var/lib/leeward")


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "HOME"])
def test_the_state_directory_is_used_where_it_is_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    ours = os.getuid() or STRANGER
    os.chown(tmp_path, ours, -1)
    monkeypatch.delenv("LEEWARD_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(places, "HOME_PATH_MAX", 4096)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    monkeypatch.setattr("os.getuid", lambda: ours)
    below = "" if variable == "XDG_STATE_HOME" else ".local/state"
    assert places.home() == tmp_path / below / "leeward"
    monkeypatch.setattr("os.getuid", lambda: ours + 1)
    assert places.home() == Path(f"/tmp/leeward-{ours + 1}"), "it is another user's"
    monkeypatch.setattr("os.getuid", lambda: ours)
    monkeypatch.setattr(places, "HOME_PATH_MAX", 10)
    assert places.home() == Path(f"/tmp/leeward-{ours}"), "no socket has room below it"


@pytest.mark.root
@pytest.mark.parametrize("look", LOOKS)
def test_a_home_that_somebody_else_made_is_refused(
    monkeypatch: pytest.MonkeyPatch, temporary: Path, victim: Path, look: str
) -> None:
    """Case 5: a symbolic link planted in a directory whose name can be foreseen."""
    planted = temporary / "leeward-0"
    with acting_as(STRANGER):
        planted.mkdir(mode=0o755)
        (planted / "w").symlink_to(victim)
    monkeypatch.setenv("LEEWARD_HOME", str(planted))
    with pytest.raises(ProblemsError, match="home-not-ours"):
        LOOKS[look]()
    assert os.listdir(planted) == ["w"]


@pytest.mark.root
def test_no_command_touches_what_somebody_else_planted(temporary: Path, victim: Path) -> None:
    planted = temporary / "leeward-0"
    with acting_as(STRANGER):
        planted.mkdir(mode=0o755)
        (planted / "w").symlink_to(victim)
    for command in COMMANDS:
        result = leeward(*command, home=planted)
        assert "belongs to" in result.stdout + result.stderr, command
        assert "Traceback" not in result.stderr, command
        assert result.returncode in (1, 2), command


def test_no_command_looks_where_others_may_write(temporary: Path, victim: Path) -> None:
    home = temporary / "home"
    home.mkdir()
    home.chmod(0o777)
    (home / "w").symlink_to(victim)
    for command in COMMANDS:
        result = leeward(*command, home=home)
        assert "other users may write there" in result.stdout + result.stderr, command
        assert result.returncode in (1, 2), command


@pytest.mark.parametrize("planted", ["world", "lock", "world and lock"])
def test_a_link_is_no_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path, planted: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("LEEWARD_HOME", str(home))
    if planted == "world":
        (home / "w").symlink_to(victim)
    else:
        (home / "w").mkdir(mode=0o700)
        target = victim / "lock" if planted == "lock" else home / "nowhere"
        (home / "w" / "lock").symlink_to(target)
    assert list_worlds() == ()
    assert not places.is_gone(home / "w")
    with pytest.raises(ProblemsError, match=r"\[no-world\]"):
        World.open("w")
    with pytest.raises(ProblemsError, match="no-world-there"):
        Claim("w")
    assert (home / "w").exists()
    assert not (home / "nowhere").exists()


class Listener:
    """Accepts on a unix socket, and keeps what it is sent."""

    def __init__(self, path: Path) -> None:
        self.received = b""
        self._handle = socket.socket(socket.AF_UNIX)
        self._handle.bind(str(path))
        self._handle.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _address = self._handle.accept()
        with connection:
            while data := connection.recv(4096):
                self.received += data

    def close(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._handle.close()


@pytest.mark.root
async def test_nothing_is_said_to_a_socket_of_somebody_else(temporary: Path) -> None:
    with acting_as(STRANGER):
        listener = Listener(temporary / places.CONTROL)
    async with World(temporary) as world:
        with pytest.raises(ProblemsError, match=f"(?s)world-silent.*uid {STRANGER}"):
            await world.info()
    listener.close()
    assert listener.received == b""


async def test_nothing_is_said_when_the_kernel_names_another_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(control_socket, "peer_uid", lambda _handle: os.geteuid() + 1)
    listener = Listener(tmp_path / places.CONTROL)
    async with World(tmp_path) as world:
        with pytest.raises(ProblemsError, match=r"(?s)world-silent.*its listener is"):
            await world.info()
    listener.close()
    assert listener.received == b""


class Answering:
    """The control socket of a world without regions."""

    def __init__(self) -> None:
        self.ended = False
        config = WorldConfig(name="w", fleet="f", directory="/nowhere", regions=(), links=())
        self.api = ControlApi(config, {}, None, self.info, self.end)

    def info(self) -> WorldInfo:
        return WorldInfo(
            name="w",
            fleet="f",
            directory="/nowhere",
            isolation="shared",
            not_emulated=(),
            janitor_pid=1,
            supervisor_pid=1,
            wan_pid=None,
            started_at_unix_s=0.0,
            files=(),
            regions=(),
        )

    def end(self) -> None:
        self.ended = True


async def statuses(path: Path) -> list[int]:
    """Ask and order, over a connection each."""
    found = []
    for method, target in (("GET", "/v1/world"), ("POST", "/v1/down"), ("GET", "/v1/nowhere")):
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.request(method, f"http://world{target}") as answer,
        ):
            found.append(answer.status)
    return found


async def test_the_supervisor_answers_its_own_user_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = Answering()
    path = tmp_path / places.CONTROL
    await world.api.open(str(path))
    try:
        assert await statuses(path) == [200, 200, 404]
        assert world.ended
        world.ended = False
        monkeypatch.setattr(control_socket, "peer_uid", lambda _handle: os.geteuid() + 1)
        assert await statuses(path) == [403, 403, 403]
    finally:
        await world.api.close()
    assert not world.ended


@pytest.mark.root
async def test_the_supervisor_notices_another_user(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """Even where the modes of its directory and its socket were opened by mistake."""
    world = Answering()
    path = temporary / places.CONTROL
    await world.api.open(str(path))
    path.chmod(0o777)
    monkeypatch.setattr("os.geteuid", lambda: 0)  # the supervisor's, in the process that also acts as the other user
    try:
        assert await statuses(path) == [200, 200, 404]
        world.ended = False
        with acting_as(STRANGER):
            assert await statuses(path) == [403, 403, 403]
    finally:
        await world.api.close()
    assert not world.ended
