"""The ready pods, as the cluster tells them, however late it is ready to."""

from collections.abc import AsyncIterator
from typing import cast

import pytest
from structlog.testing import capture_logs

from leeward.agent.runtime import pods as module
from leeward.agent.runtime.pods import ClusterPods
from leeward.core.values import App
from leeward.ports.cluster import Change, Cluster, ClusterUnavailableError, NotFoundError, RejectedError, WatchEvent
from leeward.ports.gateway import Address

SHOP = App("shop")
ENDPOINTS = {"subsets": [{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 8000}]}]}


class Late:
    """An API server that refuses to show anything, and then shows one pod."""

    def __init__(self, *refusals: Exception) -> None:
        self._refusals = list(refusals)
        self.asked: list[object] = []

    async def watch(self, _resource: object, *, namespace: str, **_options: object) -> AsyncIterator[WatchEvent]:
        self.asked.append(namespace)
        if self._refusals:
            raise self._refusals.pop(0)
        yield WatchEvent(Change.ADDED, ENDPOINTS)


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(RejectedError("endpoints is forbidden"), id="the role is not there yet"),
        pytest.param(NotFoundError("namespaces shop not found"), id="the namespace is not there yet"),
        pytest.param(ClusterUnavailableError("no answer"), id="nobody answers"),
    ],
)
async def test_an_application_that_is_not_there_yet_is_waited_for(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_AGAIN_S", 0.001)
    monkeypatch.setattr(module, "RECONNECT_S", 0.001)
    cluster = Late(refusal, refusal)
    ready = ClusterPods(cast(Cluster, cluster), {SHOP: "shopping"}).ready(SHOP)
    with capture_logs() as logs:
        assert await anext(ready) == (Address("10.0.0.7", 8000),)
    assert [line.get("because", line["event"]) for line in logs] == [str(refusal), "recovered"]
    assert cluster.asked == ["shopping"] * 3
