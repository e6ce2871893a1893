"""One real control plane with every definition installed, for all tests here; or a line that says why there is none."""

import json
from collections.abc import Iterator

import pytest

from leeward.ports.cluster import KubeObject
from tests.kit.waiting import block_until
from tests.kubernetes.api import Api
from tests.kubernetes.controlplane import ControlPlane, control_plane
from tests.kubernetes.definitions import definitions
from tests.kubernetes.prepare import why_not
from tests.skips import leave_out, report

SERVED_S = 120.0
WHAT = "real Kubernetes API server"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a control plane when there is none; the summary says so."""
    reason = why_not()
    if reason is not None:
        those = [item for item in items if item.get_closest_marker("kubernetes")]
        leave_out(config, items, those, WHAT, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly what was left out, why, and how to have it."""
    report(terminalreporter, config, WHAT)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that knows every kind we write."""
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        with Api(plane.connection) as api:
            known = definitions()
            for item in known:
                answer = api.apply(item)
                assert answer.status < 400, f"{item['metadata']['name']}: {answer.complaints}"
            _wait_until_served(api, {item["metadata"]["name"] for item in known})
            _wait_until_told(api, known)
        yield plane


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    """Yield a connection to the control plane."""
    with Api(plane.connection) as api:
        yield api


def _wait_until_served(api: Api, names: set[str]) -> None:
    def waiting() -> set[str]:
        status, text = api.ask("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        assert status == 200, text
        return names - {item["metadata"]["name"] for item in json.loads(text)["items"] if _is_served(item)}

    block_until(waiting, "the server serves every kind", accept=lambda found: not found, within_s=SERVED_S, every_s=0.2)


def _wait_until_told(api: Api, known: list[KubeObject]) -> None:
    """Wait until the server also tells where: its discovery follows what it serves by moments."""
    served = [
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"])
        for item in known
        for version in item["spec"]["versions"]
        if version["served"]
    ]
    block_until(
        lambda: [kind for version, kind in served if not api.serves(version, kind)],
        "discovery lists every kind",
        accept=lambda missing: not missing,
        within_s=SERVED_S,
        every_s=0.1,
    )


def _is_served(item: KubeObject) -> bool:
    rows = item.get("status", {}).get("conditions") or ()
    return ("Established", "True") in {(row["type"], row["status"]) for row in rows}
