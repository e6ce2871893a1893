"""One rule for options in every verb, asserted over all of them.

An application is APP, the first argument; where that is something else, ``--app APP``. Files are ``-f DIR``. ``-o`` is
the form of the answer. A duration is a number with a unit. What is written goes to ``--out OUT``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.core
import yaml
from typer.main import get_command

from leeward.cli.main import build

from .conftest import Run

HELLO = str(Path(__file__).parents[2] / "examples" / "hello")


def verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


VERBS = sorted(verbs(get_command(build())), key=lambda verb: verb[0])
ALL = [pytest.param(name, command, id=name) for name, command in VERBS]
# What an option takes, by its name, in every verb.
METAVARS = {
    "--app": "APP",
    "--cluster": "CLUSTER",
    "--container": "CONTAINER",
    "--context": "CONTEXT",
    "--files": "DIR",
    "--fleet": "FLEET",
    "--from": "REGION",
    "--kubeconfig": "FILE",
    "--namespace": "NAMESPACE",
    "--out": "OUT",
    "--peer": "REGION",
    "--region": "REGION",
    "--to": "REGION",
    "--world": "WORLD",
}
DURATIONS = ("--delay", "--duration", "--every", "--timeout")
SHORT = {
    "-A": ["--all-namespaces"],
    "-c": ["--cluster", "--container"],
    "-f": ["--files"],
    "-n": ["--namespace"],
    "-o": ["--output"],
    "-r": ["--region"],
    "-s": ["--signal"],
    "-w": ["--watch"],
}
FORMATS = ("table", "wide", "short", "json", "yaml", "name", "jsonpath=TEMPLATE")


def options(command: Any) -> dict[str, Any]:
    """Return every option by its long names."""
    found = [each for each in command.params if each.param_type_name == "option"]
    return {name: each for each in found for name in each.opts if name.startswith("--")}


def arguments(command: Any) -> list[str]:
    """Return the arguments' names as the help shows them."""
    return [each.metavar for each in command.params if each.param_type_name == "argument" and not each.hidden]


def test_the_walk_finds_every_verb() -> None:
    names = {name for name, _ in VERBS}
    assert {"status", "validate", "fault slow", "render"} <= names
    assert len(names) > 30


@pytest.mark.parametrize(("name", "command"), ALL)
def test_an_option_takes_the_same_in_every_verb(name: str, command: Any) -> None:
    for option, each in options(command).items():
        if option in METAVARS:
            assert each.metavar == METAVARS[option], option
        for short in (opt for opt in each.opts if not opt.startswith("--")):
            # As in kubectl, logs -f is --follow: logs reads no files.
            if (name, short) != ("logs", "-f"):
                assert option in SHORT[short], short
    if "--confirm" in options(command):
        assert options(command)["--confirm"].metavar == ("FLEET" if name == "restore-store" else "APP")


@pytest.mark.parametrize(("name", "command"), ALL)
def test_an_application_is_the_first_argument_or_app(name: str, command: Any) -> None:
    named = arguments(command)
    assert "--application" not in options(command), name
    if "APP" in named:
        assert named[0] == "APP"
        assert "--app" not in options(command)
    if "--app" in options(command):
        assert named, "APP could be the first argument"


@pytest.mark.parametrize(("name", "command"), ALL)
def test_files_are_f(name: str, command: Any) -> None:
    assert "DIR" not in arguments(command), name
    if "--files" in options(command):
        assert options(command)["--files"].opts == ["-f", "--files"]


@pytest.mark.parametrize(("name", "command"), ALL)
def test_o_is_the_form_of_the_answer(name: str, command: Any) -> None:
    assert "--format" not in options(command), name
    assert [option for option, each in options(command).items() if "-o" in each.opts] in ([], ["--output"])
    output = options(command).get("--output")
    if output is None:
        return
    assert output.opts == ["-o", "--output"]
    formats = output.metavar.split("|")
    assert {"json", "yaml", "jsonpath=TEMPLATE"} <= set(formats) <= set(FORMATS)
    assert output.show_default == ("yaml" if name == "render" else "table")


@pytest.mark.parametrize(("name", "command"), ALL)
def test_a_duration_has_a_unit(name: str, command: Any) -> None:
    for option, each in options(command).items():
        assert re.search(r"-(ms|s|m|h|seconds|minutes|hours|kib)\b|hours$", option) is None, (name, option)
        assert (each.metavar == "DURATION") is (option in DURATIONS), (name, option)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        pytest.param(["up", "-f", HELLO, "--timeout", "30"], "--timeout", id="up"),
        pytest.param(["wait", "hello", "--timeout", "30"], "--timeout", id="wait"),
        pytest.param(["drill", "blip", "--duration", "90"], "--duration", id="drill"),
        pytest.param(["simulate", "-f", HELLO, "--duration", "2"], "--duration", id="simulate"),
        pytest.param(["fault", "slow", "-r", "us", "--delay", "500"], "--delay", id="fault slow"),
    ],
)
def test_a_number_without_a_unit_is_rejected_everywhere(leeward: Run, arguments: list[str], option: str) -> None:
    result = leeward(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error[usage]: {option}: '{arguments[-1]}' is not a valid duration; expected a")


@pytest.mark.parametrize("verb", ["demo", "diagram", "diff", "render", "simulate", "up", "validate"])
def test_a_missing_directory_is_the_same_everywhere(leeward: Run, tmp_path: Path, verb: str) -> None:
    more = ["--cluster", "us"] if verb in ("diff", "render") else []
    result = leeward(verb, "-f", str(tmp_path / "nowhere"), *more)
    assert (result.returncode, result.stdout) == (1 if verb == "validate" else 2, "")
    assert "error[file-not-found]" in result.stderr


def test_validate_takes_its_files_by_f_and_as_before(leeward: Run) -> None:
    by_option, before = leeward("validate", "-f", HELLO), leeward("validate", HELLO)
    assert (by_option.returncode, by_option.stdout) == (0, before.stdout)
    assert "error[usage]: give the files once" in leeward("validate", HELLO, "-f", HELLO).stderr
    assert "error[usage]: the files are missing: -f DIR" in leeward("validate").stderr


def test_every_form_is_the_same_document(leeward: Run) -> None:
    as_json = json.loads(leeward("worlds", "-o", "json").stdout)
    assert as_json == {"apiVersion": "leeward.dev/v1alpha1", "kind": "WorldList", "worlds": []}
    assert yaml.safe_load(leeward("worlds", "-o", "yaml").stdout) == as_json
    assert leeward("worlds", "-o", "jsonpath={.kind}").stdout == "WorldList\n"
    assert leeward("worlds", "-o", "name").stdout == ""
    names = leeward("render", "-f", HELLO, "--cluster", "us", "-o", "name").stdout.split()
    assert "deployment/hello" in names
