"""The order of an application's concerns: computed from what each states, and complete."""

import json
import random
from collections.abc import Iterator

import pytest

from leeward.compile import KubeObject
from leeward.compile.cluster import APPLICATION_CONCERNS
from leeward.compile.concern import ALL_OTHERS, Concern, ordered
from leeward.compile.regional import compile_application
from leeward.compile.site import Site, all_clusters, site_of
from leeward.compile.target import Images
from leeward.spec import load
from leeward.spec.application import Application
from leeward.world.objects import engine_commands
from tests.compile.test_parts import EXAMPLES


def unchanged(_site: Site, _application: Application, items: list[KubeObject]) -> list[KubeObject]:
    return items


def concern(name: str, *after: str) -> Concern:
    return Concern(name, unchanged, after)


@pytest.mark.parametrize(
    ("concerns", "expected"),
    [
        pytest.param([concern("b"), concern("a")], ["b", "a"], id="as listed where nobody minds"),
        pytest.param(
            [concern("quota", "sidecars"), concern("sidecars")], ["sidecars", "quota"], id="after what it names"
        ),
        pytest.param(
            [concern("last", ALL_OTHERS), concern("a"), concern("b")], ["a", "b", "last"], id="after all others"
        ),
        pytest.param(
            [concern("digests", ALL_OTHERS, "patches"), concern("patches", ALL_OTHERS), concern("a")],
            ["a", "patches", "digests"],
            id="all others are those that do not come after it",
        ),
    ],
)
def test_the_order(concerns: list[Concern], expected: list[str]) -> None:
    assert [each.name for each in ordered(concerns)] == expected


@pytest.mark.parametrize(
    ("concerns", "message"),
    [
        ([concern("a", "b")], "concern a comes after unknown concerns: b"),
        ([concern("a"), concern("a")], "two concerns are called a"),
        ([concern("a", "b"), concern("b", "a")], "these concerns depend on each other: "),
        ([concern("a", ALL_OTHERS), concern("b", ALL_OTHERS)], "these concerns depend on each other: "),
    ],
)
def test_an_order_that_cannot_be(concerns: list[Concern], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ordered(concerns)


@pytest.mark.parametrize("seed", range(20))
def test_what_the_concerns_state_is_all_that_matters(seed: int) -> None:
    """Any order that satisfies ``after`` gives the same objects: a concern that depends on another one says so."""
    chance = random.Random(seed)
    listed = list(APPLICATION_CONCERNS)
    chance.shuffle(listed)
    for site, application in placed():
        assert objects(site, application, ordered(listed)) == objects(site, application, APPLICATION_CONCERNS)


def placed() -> Iterator[tuple[Site, Application]]:
    spec = load(EXAMPLES / "fnp")
    for _, cluster in all_clusters(spec):
        site = site_of(spec, cluster.name, engines=engine_commands(), images=Images())
        for application in site.spec.applications:
            yield site, application


def objects(site: Site, application: Application, concerns: tuple[Concern, ...]) -> list[str]:
    items = compile_application(site.spec, application, site.region.name, site.target, home=site.home)
    for each in concerns:
        items = each.apply(site, application, items)
    return sorted(json.dumps(item, sort_keys=True) for item in items)
