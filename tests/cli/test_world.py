"""The verbs against a real world of three regions, by the real entry point."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world.running import copied, patient

from .worlds import PAYMENTS, START_S, Leeward, at_home, primary, until

pytestmark = [pytest.mark.world, pytest.mark.timeout(700)]


@pytest.fixture(scope="module")
def leeward() -> Iterator[Leeward]:
    yield from at_home()


@pytest.fixture(scope="module")
def world(leeward: Leeward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leeward]:
    """A world that is ready, and where nothing moves by itself; what `up` printed was checked."""
    files = copied(tmp_path_factory.mktemp("files"), patient)
    result = leeward("up", str(files), "--timeout", START_S)
    assert result.returncode == 0, result.stderr
    assert "everything is ready" in result.stderr
    for shown in ("http://127.0.0.1:", str(leeward.home / "default" / "operator"), "leeward switchover payments"):
        assert shown in result.stdout
    yield leeward
    result = leeward("down")
    assert (result.returncode, result.stdout) == (0, "world/default down\n")
    # The janitor, no child of `down`, ends a moment after the directory, which it removes last.
    until(lambda: not leeward.left(), leeward.left)


def test_status_is_of_one_revision_and_names_who_answered(world: Leeward) -> None:
    def whole() -> bool:
        status = world.status()
        (row,) = status["applications"]
        return (
            status["answered"] == ["us-east-1", "europe-west1", "japaneast"]
            and status["silent"] == []
            and (row["name"], row["ready"], row["regions"], row["writable"]) == ("payments", 3, 3, True)
        )

    def shown() -> bool:
        # In one look: problems are reported as sentences, which may be longer.
        text = world("status").stdout
        return "3 of 3 regions answered" in text and max(map(len, text.splitlines())) <= 100

    until(whole, lambda: world("status").stdout)
    until(shown, lambda: world("status").stdout)


def test_objects_are_listed_described_and_tell_their_logs(world: Leeward) -> None:
    pods = world("get", "pods", "--region", "us-east-1", "-n", "payments", "-o", "name").stdout.split()
    assert "pod/payments-postgres-0" in pods
    assert len(pods) >= 3, "the autoscaler may have added some"
    described = world("describe", "sts", "payments-postgres", "-r", "us-east-1").stdout
    assert "StatefulSet" in described
    logs = world("logs", "payments-postgres-0", "-r", "us-east-1", "--tail", "3")
    assert (logs.returncode, len(logs.stdout.splitlines())) == (0, 3)


def test_an_object_that_is_not_there(world: Leeward) -> None:
    result = world("get", "pods", "nobody", "-r", "us-east-1")
    assert (result.returncode, result.stdout) == (1, "")
    assert "payments-postgres-0" in result.stderr


def test_a_second_world_of_that_name_is_refused(world: Leeward) -> None:
    result = world("up", str(PAYMENTS))
    assert (result.returncode, result.stdout) == (2, "")
    assert "error[world-exists]" in result.stderr


def test_a_dry_run_changes_nothing(world: Leeward) -> None:
    before = primary(world)
    result = world.done("switchover", "payments", "--to", "europe-west1", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("application/payments switched-over (dry run): ")
    assert primary(world) == before


def test_danger_must_be_confirmed_by_name(world: Leeward) -> None:
    for arguments in (["failover", "payments", "--to", "japaneast"], ["pause", "payments", "--confirm", "payment"]):
        result = world(*arguments)
        assert (result.returncode, result.stdout) == (6, "")
        assert "error[not-confirmed]" in result.stderr


def test_a_switchover_is_waited_for_and_recorded(world: Leeward) -> None:
    result = world.done("switchover", "payments", "--to", "europe-west1", "--timeout", START_S)
    assert (result.returncode, result.stdout) == (0, "application/payments switched-over\n"), result.stderr
    until(lambda: primary(world) == "europe-west1", lambda: world("status").stdout)

    def decided() -> list[dict[str, Any]]:
        document = json.loads(world("records", "payments", "-o", "json").stdout)
        assert document["kind"] == "DecisionList"
        decisions: list[dict[str, Any]] = document["decisions"]
        return decisions if "SwitchoverStarted" in [decision["reason"] for decision in decisions] else []

    # Decisions are logged in the background, and each agent has them a moment later.
    until(decided, lambda: world("records", "payments").stdout)
    until(lambda: "SwitchoverStarted" in world("records").stdout, lambda: world("records").stdout)
    until(lambda: world("orphans", "payments").returncode == 0, lambda: world("orphans", "payments").stderr)


def test_an_operator_may_do_what_was_granted_and_no_more(
    world: Leeward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = world("operator", "alice", "--app", "shop", "--out", str(tmp_path / "shop"))
    assert (unknown.returncode, "error[unknown-application]" in unknown.stderr) == (2, True)
    alice = tmp_path / "alice"
    issued = world.done("operator", "alice", "--app", "payments", "--may", "steer", "--out", str(alice))
    assert issued.stdout == "operator/alice issued: may steer payments\n"
    assert {path.name: path.stat().st_mode & 0o777 for path in alice.iterdir()} == dict.fromkeys(
        ("ca.crt", "tls.crt", "tls.key"), 0o600
    )
    again = world("operator", "alice", "--may", "steer", "--out", str(alice))
    assert (again.returncode, "error[directory-exists]" in again.stderr) == (2, True)
    everything = world("operator", "alice", "--out", str(tmp_path / "everything"))
    assert (everything.returncode, (tmp_path / "everything").exists()) == (2, False)
    monkeypatch.setitem(world.environment, "LEEWARD_IDENTITY", str(alice))
    assert world.done("pause", "payments", "--confirm", "payments").returncode == 0
    until(lambda: "(asked by alice:" in world("records", "payments").stdout, lambda: world("records").stdout)
    assert world.done("resume", "payments").returncode == 0
    refused = world("failover", "payments", "--to", "japaneast", "--confirm", "payments")
    assert refused.returncode == 2
    assert "error[not-allowed]" in refused.stderr
    assert "needs the right to break payments" in refused.stderr
    monkeypatch.setitem(world.environment, "LEEWARD_IDENTITY", str(tmp_path))
    missing = world("pause", "payments", "--confirm", "payments")
    assert (missing.returncode, "error[no-identity]" in missing.stderr) == (2, True)


def test_a_refusal_has_a_reason(world: Leeward) -> None:
    result = world("switchover", "payments", "--to", primary(world))
    assert (result.returncode, result.stdout) == (6, "")
    assert "why:" in result.stderr


def test_status_with_a_dead_region(world: Leeward) -> None:
    assert world("fault", "kill", "-r", "japaneast").stdout.startswith("region/japaneast killed at ")
    until(lambda: world.status()["answered"] == ["us-east-1", "europe-west1"], lambda: world("status").stdout)
    until(lambda: "silent: japaneast (lost: " in world("status").stdout, lambda: world("status").stdout)
    assert world("get", "pods", "-r", "japaneast").returncode == 2
    assert world("fault", "start", "-r", "japaneast").returncode == 0
    until(lambda: len(world.status()["answered"]) == 3, lambda: world("status").stdout)
