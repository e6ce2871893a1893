import pytest

from leeward.cli import jsonpath

DOCUMENT = {
    "applications": [{"name": "a", "epoch": 3, "paused": False}, {"name": "b", "epoch": 4, "because": None}],
    "labels": {"app.kubernetes.io/name": "shop"},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.applications[0].name}", "a"),
        (".applications[0].name", "a"),
        ("{$.applications[-1].epoch}", "4"),
        ("{.applications[*].name}", "a b"),
        ('{.applications[0].name}{"\\n"}is {.applications[0].paused}', "a\nis false"),
        ("{.labels['app.kubernetes.io/name']}", "shop"),
        ("{.labels.*}", "shop"),
        ("{.applications[1].because}", ""),
        ("{.applications[7].name}{.nothing.there}", ""),
        ("{.labels}", '{"app.kubernetes.io/name": "shop"}'),
    ],
)
def test_values_are_picked(template: str, text: str) -> None:
    assert jsonpath.render(template, DOCUMENT) == text


@pytest.mark.parametrize("template", ["{.a", "{.items[?(@.a==1)]}", "{range .items[*]}", '{"open}'])
def test_what_is_not_understood_is_refused(template: str) -> None:
    with pytest.raises(jsonpath.JsonPathError):
        jsonpath.parse(template)
