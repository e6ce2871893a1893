"""What correct files mean, and how all that is wrong is found at once."""

from pathlib import Path

import pytest

from leeward.core.values import ReplicationMode
from leeward.spec import ProblemsError, json_schema, load
from leeward.spec.spec import estimated_rtt_s
from tests.conftest import Golden
from tests.spec.files import APPLICATION, FLEET, problems_of, replaced, write

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_payments_has_what_the_demo_needs() -> None:
    spec = load(EXAMPLES / "payments")
    payments = spec.application("payments")
    assert spec.placement(payments) == ("us-east-1", "europe-west1", "japaneast")
    assert spec.rtt_s("europe-west1", "us-east-1") == 0.08
    assert spec.rtt_s("japaneast", "japaneast") == 0
    assert spec.rtt_max_s == 0.2
    assert payments.spec.objectives.rto_s == 5
    assert payments.spec.database.replication is ReplicationMode.ASYNC
    assert spec.budget(payments).total_s + spec.dns_ttl_s(payments) <= payments.spec.objectives.rto_s


def test_defaults_make_a_short_file_enough(tmp_path: Path) -> None:
    spec = load(write(tmp_path))
    shop = spec.application("shop")
    assert spec.placement(shop) == ("us", "eu", "jp")
    assert str(shop.spec.database.storage) == "10Gi"
    assert shop.spec.database.storage.amount == 10 * 2**30
    assert spec.dns_ttl_s(shop) == 1


def test_the_primary_comes_first_and_the_rest_keep_their_order(tmp_path: Path) -> None:
    spec = load(write(tmp_path, application=APPLICATION + "  placement: {primary: jp}\n"))
    assert spec.placement(spec.application("shop")) == ("jp", "us", "eu")


def test_a_link_left_out_is_estimated_from_the_distance(tmp_path: Path) -> None:
    spec = load(write(tmp_path, fleet=replaced(FLEET, "    - {between: [us, eu], rtt: 80ms}\n", "")))
    us, eu = spec.region("us").location, spec.region("eu").location
    assert spec.rtt_s("us", "eu") == spec.rtt_s("eu", "us") == estimated_rtt_s(us, eu)
    assert spec.rtt_s("us", "jp") == 0.15


def test_the_estimate_is_close_to_what_is_measured_between_providers_regions() -> None:
    regions = {region.name: region.location for region in load(EXAMPLES / "payments").regions}
    across_atlantic = estimated_rtt_s(regions["us-east-1"], regions["europe-west1"])
    across_pacific = estimated_rtt_s(regions["us-east-1"], regions["japaneast"])
    assert across_atlantic == pytest.approx(0.08, rel=0.34)
    assert across_pacific == pytest.approx(0.15, rel=0.34)


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    fleet = replaced(FLEET, "rtt: 80ms", "rtt: 80").replace("latitude: 38.9", "latitude: north")
    application = replaced(APPLICATION, "rto: 5s", "rto: soon").replace("image: shop:1", "imago: shop:1")
    (tmp_path / "other.yml").write_text("a: [", "utf-8")
    problems = problems_of(write(tmp_path, fleet, application))
    assert sorted(problem.code for problem in problems) == [
        "bad-duration",
        "bad-duration",
        "missing-key",
        "unknown-key",
        "wrong-type",
        "yaml-syntax",
    ]


def test_relations_are_checked_even_where_another_part_is_broken(tmp_path: Path) -> None:
    broken = replaced(APPLICATION, "rto: 5s", "rto: 3s") + "  placement: {primary: mars}\n"
    (tmp_path / "broken.yaml").write_text("a: [", "utf-8")
    codes = {problem.code for problem in problems_of(write(tmp_path, application=broken))}
    assert codes == {"yaml-syntax", "rto-infeasible", "unknown-region"}


def test_one_file_may_hold_several_documents(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{FLEET}---\n{APPLICATION}", "utf-8")
    assert load(file).application("shop").metadata.name == "shop"


def test_positions_in_a_later_document_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{FLEET}---\n{replaced(APPLICATION, 'rpo: 5s', 'rpo: 5')}", "utf-8")
    with pytest.raises(ProblemsError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert problem.where == f"{file}, line {FLEET.count(chr(10)) + 1 + 6}, column 30"


def test_other_tools_documents_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "utf-8"
    )
    assert load(write(tmp_path)).fleet.metadata.name == "atlas"


def test_a_misspelt_group_is_not_another_tools(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, fleet=replaced(FLEET, "leeward.dev", "leward.dev")))
    assert [problem.code for problem in problems] == ["bad-value"]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param({}, "nothing-found", id="an empty directory"),
        pytest.param({"a.yaml": ""}, "nothing-found", id="an empty file"),
        pytest.param({"a.yaml": FLEET}, "missing-document", id="no application"),
        pytest.param({"a.yaml": APPLICATION}, "missing-document", id="no fleet"),
        pytest.param({"a.yaml": "- a\n- b\n"}, "not-a-document", id="a list"),
        pytest.param({"a.yaml": "hello"}, "not-a-document", id="a word"),
        pytest.param({"a.yaml": "kind: Fleet\x00"}, "yaml-syntax", id="a binary file"),
        pytest.param({"a.yaml": FLEET, "b.yaml": FLEET, "c.yaml": APPLICATION}, "two-fleets", id="two fleets"),
        pytest.param(
            {"a.yaml": FLEET, "b.yaml": APPLICATION, "c.yaml": APPLICATION}, "duplicate-name", id="the same twice"
        ),
    ],
)
def test_what_is_wrong_with_the_files_together(tmp_path: Path, files: dict[str, str], code: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    assert [problem.code for problem in problems_of(tmp_path)] == [code]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert [problem.code for problem in problems_of(tmp_path / "nowhere")] == ["file-not-found"]


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("kind: Fl\u00e9et".encode("latin-1"))
    assert [problem.code for problem in problems_of(tmp_path)] == ["file-unreadable"]


def test_how_a_problem_reads(tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = replaced(FLEET, "rtt: 80ms", "rtt: 80").replace("- name: eu", "- name: eu\n      residancy: x")
    application = replaced(APPLICATION, "rto: 5s", "rto: 2s") + "  traffic: {dnsTTL: 60s}\n"
    write(tmp_path, fleet, application)
    monkeypatch.chdir(tmp_path)
    broken_fleet = "\n\n".join(map(str, problems_of(Path())))
    write(tmp_path, application=application)
    golden(Path(__file__).with_name("problems.txt"), f"{broken_fleet}\n\n{problems_of(Path())[0]}\n")


@pytest.mark.parametrize("kind", ["Fleet", "Application"])
def test_the_schema_names_keys_as_the_files_do(kind: str) -> None:
    text = str(json_schema(kind))
    assert "'additionalProperties': False" in text
    assert "_" not in "".join(key for part in json_schema(kind)["$defs"].values() for key in part.get("properties", {}))


def test_the_schema_of_the_example_has_every_key_it_uses() -> None:
    schema = json_schema("Application")
    service = schema["$defs"]["Service"]
    assert {"image", "command", "port", "replicas", "probes", "autoscaling"} <= service["properties"].keys()
    assert service["required"] == ["image", "command"]
