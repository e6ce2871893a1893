"""What a process writes to its log, in each form."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from leeward.kit import logs

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_names_who_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("instance-manager", region="eu", application="payments")
    log.info("renewed %d certificates", 3, because="they were due")
    (line,) = map(json.loads, lines(capsys))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "component": "instance-manager",
        "region": "eu",
        "application": "payments",
        "level": "info",
        "event": "renewed 3 certificates",
        "because": "they were due",
    }


def test_a_message_about_another_region_keeps_that_one(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("agent", region="eu")
    log.warning("failed to read a region's exports", region="us")
    assert json.loads(lines(capsys)[0])["region"] == "us"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("supervisor", logs.Form.TEXT)
    log.error("cannot write %s: %s", "world.json", "disk full", errno=28)
    (line,) = lines(capsys)
    assert line.partition(" ")[2] == "supervisor ERROR cannot write world.json: disk full errno=28"


@pytest.mark.parametrize("form", logs.Form)
def test_an_exception_comes_with_its_traceback(capsys: pytest.CaptureFixture[str], form: logs.Form) -> None:
    logs.configure("wan", form)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("the WAN process exited")
    text = "\n".join(lines(capsys))
    found = json.loads(text)["exception"] if form is logs.Form.JSON else text
    assert "Traceback" in found
    assert found.endswith("RuntimeError: broken")


def test_what_libraries_log_is_a_line_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("agent")
    logging.getLogger("asyncio").error("%s was never retrieved", "an exception")
    logging.getLogger("asyncio").info("Using selector: EpollSelector")
    (line,) = map(json.loads, lines(capsys))
    assert {key: line[key] for key in ("component", "level", "event", "logger")} == {
        "component": "agent",
        "level": "error",
        "event": "an exception was never retrieved",
        "logger": "asyncio",
    }


def test_details_for_developers_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("wan", logs.Form.TEXT)
    log.debug("127.10.1.3:2379: refused")
    assert lines(capsys) == []
