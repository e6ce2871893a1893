"""A fleet without a world: its agents answer from a list, and accept what they are asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.operate.agents import Agents, Answer
from leeward.world.model import WorldInfo


class ListedAgents(Agents):
    """Answers ``statuses`` with one look after the other; the last one stays."""

    def __init__(self, looks: Sequence[Sequence[Answer]], asked: list[tuple[str, Mapping[str, Any]]]) -> None:
        self._looks = iter(looks)
        self._now: Sequence[Answer] = ()
        self._asked = asked
        self.reply = Answer("east", 200, {"because": "west has all of it"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def statuses(self) -> list[Answer]:
        self._now = next(self._looks, self._now)
        return list(self._now)

    async def change(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> Answer:
        self._asked.append((path, body))
        return self.reply


class ListedFleet:
    """An ``operate.fleet.Fleet``; ``asked`` collects the requests."""

    name = "small"
    regions = ("east", "west", "far")
    world: WorldInfo | None = None

    def __init__(self, *looks: Sequence[Answer], gone: Callable[[], Exception] | None = None) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._gone = gone
        self.listed = ListedAgents(looks, self.asked)

    def agents(self) -> Agents:
        return self.listed

    def cluster(self, region: str) -> KubernetesCluster:
        raise NotImplementedError(region)

    async def refreshed(self) -> "ListedFleet":
        if self._gone is not None:
            raise self._gone()
        return self
