"""One mistake in one place: its code, its position, and the words that matter to who made it."""

from pathlib import Path

import pytest

from leeward.core.timers import budget, lease_min_s
from tests.spec.files import APPLICATION, FLEET, IMAGES, PLACES, problems_of, replaced, write

US, EU, JP = "- name: us", "- name: eu", "- name: jp"
PLACE = "      location: {latitude: 35.6, longitude: 139.7}\n"
TWO = """\
  @regions:
    - {name: us, location: {latitude: 38.9, longitude: -77.4}}
    - {name: eu, location: {latitude: 50.4, longitude: 3.8}}
"""
IMAGE = "    image: shop:1\n"


def one_problem(directory: Path) -> tuple[str, str, str]:
    """Return code, line:column and whole text of the only problem."""
    problems = problems_of(directory)
    assert len(problems) == 1, "\n\n".join(map(str, problems))
    (problem,) = problems
    place = problem.where.partition(".yaml, ")[2].replace("line ", "").replace(", column ", ":")
    return problem.code, place, str(problem)


def marked(text: str) -> tuple[str, str]:
    """Return a file without its mark, an @, and where the mark stood as line:column."""
    before, _, after = text.partition("@")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


FLEET_MISTAKES = [
    pytest.param("name: atlas", "name: @Atlas", "bad-name", "lower-case", id="a name in capitals"),
    pytest.param(
        "leeward.dev/v1alpha1",
        "@leeward.dev/v1",
        "bad-value",
        "did you mean leeward.dev/v1alpha1?",
        id="another version",
    ),
    pytest.param("kind: Fleet", "kind: @Flet", "unknown-kind", "did you mean Fleet?", id="an unknown kind"),
    pytest.param(US, "- name: us\n      @providr: aws", "unknown-key", "did you mean provider?", id="a misspelt key"),
    pytest.param(US, "- name: us\n      provider: @amazon", "bad-value", "aws, gcp, azure", id="no provider"),
    pytest.param(US, "- name: us\n      witness: @yes", "wrong-type", "true or false", id="yes is text"),
    pytest.param(
        US + "\n      location: {latitude: 38.9, longitude: -77.4}\n",
        "- @name: us\n",
        "missing-key",
        "location",
        id="missing",
    ),
    pytest.param("latitude: 38.9", "latitude: @91", "bad-value", "90", id="beyond the pole"),
    pytest.param("latitude: 38.9", "latitude: @.nan", "wrong-type", "a number", id="not a number"),
    pytest.param("rtt: 80ms", "rtt: @80", "bad-duration", "500ms, 5s", id="a duration without unit"),
    pytest.param("[us, eu]", "@[us]", "bad-value", "at least 2 items", id="a link with one end"),
    pytest.param("[us, eu]", "@[us, us]", "bad-link", "itself", id="a link to itself"),
    pytest.param("[us, eu]", "[us, @jpn]", "unknown-region", "did you mean jp?", id="a link to nowhere"),
    pytest.param("[us, jp]", "@[eu, us]", "duplicate-link", "line 16, column 17", id="a link given twice"),
    pytest.param("metadata:\n", "metadata:\n@\t", "yaml-syntax", "tabs", id="a tab"),
    pytest.param("  name: atlas", "  name: atlas\n  @name: b", "duplicate-key", "line 4", id="a key twice"),
    pytest.param("metadata:\n  name: atlas", "metadata:\n  ? @[a]\n  : b\n  name: atlas", "yaml-key", "text"),
    pytest.param(
        "  links:\n",
        "    - name: @us\n" + PLACE + "  links:\n",
        "duplicate-name",
        "line 7, column 13",
        id="a region twice",
    ),
    pytest.param(
        PLACES[PLACES.index("  regions") :], TWO, "two-regions-no-witness", "is not a majority", id="two regions"
    ),
    pytest.param(
        US,
        "- name: us\n      clusters: [{name: a, podCIDR: 10.0.0.0/8}, {name: b, podCIDR: @10.9.0.0/16}]",
        "overlapping-cidrs",
        "10.0.0.0/8",
        id="overlapping addresses",
    ),
    pytest.param(
        US,
        "- name: us\n      clusters: [{name: a, podCIDR: @10.0.0.1/8}]",
        "bad-cidr",
        "host bits",
        id="no range of addresses",
    ),
    pytest.param(
        US,
        "- name: us\n      clusters: [{name: a, podCIDR: 10.1.0.0/16}, {name: @a, podCIDR: 10.2.0.0/16}]",
        "duplicate-name",
        "line 8, column 25",
    ),
]


@pytest.mark.parametrize(("old", "new", "code", "words"), FLEET_MISTAKES)
def test_a_mistake_in_the_fleet(tmp_path: Path, old: str, new: str, code: str, words: str) -> None:
    fleet, place = marked(replaced(FLEET, old, new))
    found_code, found_place, text = one_problem(write(tmp_path, fleet=fleet))
    assert (found_code, found_place) == (code, place), text
    assert words in text


APPLICATION_MISTAKES = [
    pytest.param("name: shop", "name: @kube-system", "reserved-name", "namespace", id="Kubernetes' name"),
    pytest.param("name: shop", "name: @replicator", "reserved-name", "database", id="a role of Leeward's"),
    pytest.param("name: shop", "name: @template1", "reserved-name", "database", id="a database of PostgreSQL's"),
    pytest.param("rto: 5s", "rto: @5 s", "bad-duration", "5s", id="a space before the unit"),
    pytest.param("{rto: 5s, ", "@{", "missing-key", "Recovery time", id="no RTO"),
    pytest.param("rto: 5s", "rto: @3s", "rto-infeasible", "3.1s or more", id="an RTO too short"),
    pytest.param("rpo: 5s", "rpo: @0s", "rpo-needs-sync", "quorum or sync", id="RPO 0 asynchronously"),
    pytest.param("rpo: 5s", "rpo: @1500ms", "rpo-below-lease", "2s or more", id="an RPO below the lease"),
    pytest.param(IMAGE, "    image: @1.5\n", "wrong-type", '"1.5"', id="a number where text belongs"),
    pytest.param(IMAGE, "    image:@\n", "wrong-type", "text", id="nothing where text belongs"),
    pytest.param(IMAGE, IMAGE + "    replicas: @2.5\n", "wrong-type", "whole number", id="half a pod"),
    pytest.param(IMAGE, IMAGE + "    replicas: @true\n", "wrong-type", "whole number", id="a true pod"),
    pytest.param(IMAGE, IMAGE + "    replicas: @0\n", "bad-value", "1", id="no pods"),
    pytest.param(IMAGE, IMAGE + "    port: @80\n", "bad-value", "1024", id="a privileged port"),
    pytest.param('[shop, --port, "8000"]', "@run", "wrong-type", "a list", id="text where a list belongs"),
    pytest.param('"8000"', "@8000", "wrong-type", '"8000"', id="a number in a list of texts"),
    pytest.param(
        "  service:\n", "  database: {walRetention: @120}\n  service:\n", "bad-value", "100", id="more than the volume"
    ),
    pytest.param(IMAGE, IMAGE + "    env: {@A-B: c}\n", "bad-value", "underscores", id="an env name"),
    pytest.param(IMAGE, IMAGE + "    env: {@POD_IP: c}\n", "reserved-env", "POD_IP", id="our variable"),
    pytest.param(IMAGE, IMAGE + "    probes: {liveness: @up}\n", "bad-value", "/healthz", id="a path"),
    pytest.param(
        IMAGE,
        IMAGE + "    resources: {requests: {memory: @5 GB}}\n",
        "bad-quantity",
        "512Mi",
        id="a quantity in another form",
    ),
    pytest.param(
        IMAGE,
        IMAGE + "    resources: {requests: {memory: @1Gi}, limits: {memory: 512Mi}}\n",
        "request-above-limit",
        "at most 512Mi",
        id="more promised than allowed",
    ),
    pytest.param(
        IMAGE, IMAGE + "    @autoscaling: {min: 2, max: 4}\n", "bad-autoscaling", "requests.cpu", id="percent of?"
    ),
    pytest.param(
        IMAGE,
        IMAGE + "    resources: {requests: {cpu: 1}}\n    autoscaling: {min: @5, max: 4}\n",
        "bad-autoscaling",
        "at most 4",
        id="more at least than at most",
    ),
    pytest.param(
        IMAGE,
        IMAGE + "    resources: {requests: {cpu: 1}}\n    @autoscaling: {min: 3, max: 4}\n",
        "bad-autoscaling",
        "from 3 to 4",
        id="replicas outside the autoscaler's range",
    ),
]


@pytest.mark.parametrize(("old", "new", "code", "words"), APPLICATION_MISTAKES)
def test_a_mistake_in_the_application(tmp_path: Path, old: str, new: str, code: str, words: str) -> None:
    application, place = marked(replaced(APPLICATION, old, new))
    found_code, found_place, text = one_problem(write(tmp_path, application=application))
    assert (found_code, found_place) == (code, place), text
    assert words in text


ADDED_TO_SPEC = [
    pytest.param("  placement: {primary: @jpn}", "unknown-region", "did you mean jp?", id="no such primary"),
    pytest.param("  placement: {regions: [us, @ja]}", "unknown-region", "us, eu, jp", id="no such region"),
    pytest.param(
        "  placement: {regions: [us, eu], primary: @jp}", "primary-not-placed", "add jp", id="primary elsewhere"
    ),
    pytest.param("  placement: {regions: @[us]}", "single-region", "another region", id="one region only"),
    pytest.param("  placement: {regions: [us, eu, @us]}", "duplicate-name", "twice", id="a region twice"),
    pytest.param(
        "  placement: {regions: [us, eu], residency: @[eu]}", "residency", "not be in us", id="wrong residency"
    ),
    pytest.param("  traffic: {dnsTTL: @30s}", "dns-ttl-exceeds-rto", "at most 19", id="a TTL above the RTO"),
    pytest.param("  database: {version: @17}", "bad-value", "18", id="another version"),
    pytest.param("  database: {storage: @big}", "bad-quantity", "10Gi", id="a size in words"),
]


@pytest.mark.parametrize(("added", "code", "words"), ADDED_TO_SPEC)
def test_a_mistake_in_what_is_added(tmp_path: Path, added: str, code: str, words: str) -> None:
    application, place = marked(APPLICATION + added + "\n")
    found_code, found_place, text = one_problem(write(tmp_path, application=application))
    assert (found_code, found_place) == (code, place), text
    assert words in text


def test_an_alias_to_what_contains_it_ends(tmp_path: Path) -> None:
    fleet = replaced(FLEET, "metadata:\n  name: atlas", "metadata: &m\n  name: *m")
    assert "yaml-cycle" in [problem.code for problem in problems_of(write(tmp_path, fleet=fleet))]


def test_an_infeasible_rto_shows_the_arithmetic(tmp_path: Path) -> None:
    application = replaced(APPLICATION, "rto: 5s", "rto: 2500ms")
    shortest = budget(lease_min_s(0.2), 0.2, synchronous=False)
    _, _, text = one_problem(write(tmp_path, application=application))
    assert shortest.arithmetic() in text
    assert "200ms" in text


def test_sync_needs_longer_than_async(tmp_path: Path) -> None:
    application = replaced(APPLICATION, "rto: 5s", "rto: 3300ms")
    assert problems_of(write(tmp_path, application=application)) == ()
    application += "  database: {replication: quorum}\n"
    assert one_problem(write(tmp_path, application=application))[0] == "rto-infeasible"


def test_the_fix_of_an_infeasible_rto_works(tmp_path: Path) -> None:
    for rto in ("100ms", "3s"):
        _, _, text = one_problem(write(tmp_path, application=replaced(APPLICATION, "rto: 5s", f"rto: {rto}")))
        offered = text.partition("set rto to ")[2].partition(" ")[0]
        assert problems_of(write(tmp_path, application=replaced(APPLICATION, "rto: 5s", f"rto: {offered}"))) == ()


def test_the_fix_of_a_long_ttl_works(tmp_path: Path) -> None:
    _, _, text = one_problem(write(tmp_path, application=APPLICATION + "  traffic: {dnsTTL: 5s}\n"))
    offered = text.partition("at most ")[2].partition(",")[0]
    assert problems_of(write(tmp_path, application=APPLICATION + f"  traffic: {{dnsTTL: {offered}}}\n")) == ()


def test_a_witness_makes_three(tmp_path: Path) -> None:
    fleet = replaced(FLEET, JP, "- name: jp\n      witness: true")
    assert problems_of(write(tmp_path, fleet=fleet)) == ()
    application = APPLICATION + "  placement: {regions: [us, jp]}\n"
    assert one_problem(write(tmp_path, fleet=fleet, application=application))[0] == "placement-on-witness"


def test_two_witnesses_of_three_leave_nowhere_to_go(tmp_path: Path) -> None:
    fleet = FLEET.replace(JP, "- name: jp\n      witness: true").replace(EU, "- name: eu\n      witness: true")
    assert one_problem(write(tmp_path, fleet=fleet))[0] == "too-many-witnesses"


def test_one_region_is_too_few(tmp_path: Path) -> None:
    fleet = FLEET[: FLEET.index("    - name: eu")] + IMAGES
    assert one_problem(write(tmp_path, fleet=fleet))[0] == "too-few-regions"
