"""Names that would shadow others, or are none: refused by ``validate``, whoever is to read them later."""

from collections.abc import Callable
from pathlib import Path

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core.dns.settings import regional_name
from leeward.spec import dns_names, load
from tests.spec.files import APPLICATION, FLEET, problems_of, replaced, write

PAY = APPLICATION.replace("name: shop", "name: pay")
IMAGE = "    image: shop:1\n"
OVERRIDDEN = '  overrides:\n    - patches:\n        - {target: {kind: X}, json: [{op: "removeEND", path: /a}]}\n'
LABEL = "a" * 63


def codes(directory: Path, fleet: str = FLEET, *applications: str) -> list[str]:
    (directory / "fleet.yaml").write_text(fleet, "utf-8")
    for number, text in enumerate(applications or (APPLICATION,)):
        (directory / f"{number}.yaml").write_text(text, "utf-8")
    return [problem.code for problem in problems_of(directory)]


def hosted(host: str, application: str = APPLICATION) -> str:
    return f"{application}  traffic: {{host: {host}}}\n"


NO_NAMES = [
    pytest.param("shop.*", id="a wildcard at the end"),
    pytest.param("'*.example.com'", id="a wildcard at the beginning"),
    pytest.param("'*'", id="everything"),
    pytest.param("''", id="nothing"),
    pytest.param("'.'", id="the root"),
    pytest.param("shop..example.com", id="an empty label"),
    pytest.param(".example.com", id="a dot in front"),
    pytest.param("shop.example.com..", id="two final dots"),
    pytest.param("-shop.example.com", id="a hyphen in front"),
    pytest.param("shop-.example.com", id="a hyphen at the end of a label"),
    pytest.param("shop_1.example.com", id="an underscore"),
    pytest.param("shop.example.com:443", id="a port"),
    pytest.param("https://shop.example.com", id="a URL"),
    pytest.param("'shop .example.com'", id="a space"),
    pytest.param('"shop.example.com\\n"', id="a line break at the end"),
    pytest.param('"shop.exam\\0ple.com"', id="a NUL"),
    pytest.param("127.0.0.1", id="an address"),
    pytest.param(f"{LABEL}a.example.com", id="a label of 64"),
    pytest.param(f"{LABEL}.{LABEL}.{LABEL}.{LABEL}", id="255 characters"),
    pytest.param("bücher.example.com", id="not ASCII"),
    pytest.param("xn--.example.com", id="empty punycode"),
    pytest.param("xn--shop-.example.com", id="punycode of ASCII"),
    pytest.param("xn--99999999.example.com", id="punycode of nothing"),
    pytest.param("ab--shop.example.com", id="hyphens where punycode has them"),
    pytest.param("warm.leeward", id="the gateways' own"),
]


@pytest.mark.parametrize("host", NO_NAMES)
def test_what_is_no_name_is_no_host_and_no_domain(tmp_path: Path, host: str) -> None:
    assert codes(tmp_path, FLEET, hosted(host)) == ["bad-dns-name"]
    domain = replaced(FLEET, "  regions:\n", f"  domain: {host}\n  regions:\n")
    assert codes(tmp_path, domain) == ["bad-dns-name"]


@pytest.mark.parametrize("host", NO_NAMES)
def test_nor_is_it_in_an_environment(tmp_path: Path, host: str) -> None:
    varied = f"  environments:\n    - {{name: production, spec: {{traffic: {{host: {host}}}}}}}\n"
    assert set(codes(tmp_path, FLEET, APPLICATION + varied)) == {"bad-dns-name"}


def test_a_host_has_two_labels_or_more(tmp_path: Path) -> None:
    assert codes(tmp_path, FLEET, hosted("shop")) == ["bad-dns-name"]


@pytest.mark.parametrize("host", ["shop.example.com", "a1.b-2.c3", "www.xn--bcher-kva.example", "1.example.com", "x.y"])
def test_ordinary_names_are_accepted(tmp_path: Path, host: str) -> None:
    (application,) = load(write(tmp_path, application=hosted(host))).applications
    assert application.spec.traffic.host == host


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        pytest.param("xn--bcher-kva", "bücher", id="a Latin letter with a mark"),
        pytest.param("xn--strae-oqa", "straße", id="an eszett"),
        pytest.param("xn--3xa", "ς", id="a final sigma"),
        pytest.param("xn--fsqu00a", "例子", id="Han"),
        pytest.param("xn--ll-0ea", "l·l", id="a middle dot between two l"),
        pytest.param("xn--cckzj", "ア・", id="a Katakana dot"),
        pytest.param("xn--8dbaa6j", "ה\u05f3הה", id="a Hebrew geresh"),
        pytest.param("xn--11b2ezcw70k", "क्\u200dष", id="a joiner after a virama"),
        pytest.param("xn--mgba3a4fra", "ايران", id="from right to left"),
        pytest.param("xn--n3h", None, id="a symbol"),
        pytest.param("xn--ls8h", None, id="an emoji"),
        pytest.param("xn--a", None, id="a control character"),
        pytest.param("xn--l-gda", None, id="a middle dot after one l"),
        pytest.param("xn--4ca9bz", None, id="not in the one normal form"),
        pytest.param("xn--bcher-kva-", None, id="a hyphen at the end"),
        pytest.param("xn--bcher-kv", None, id="cut short"),
    ],
)
def test_punycode_is_what_idna_2008_allows(label: str, meant: str | None) -> None:
    assert (dns_names.wrong(f"www.{label}.example") is None) is (meant is not None)
    if meant is not None:
        assert meant.encode("punycode").decode("ascii") == label.removeprefix(dns_names.PUNYCODE)


@pytest.mark.parametrize("region", ["us", "one"], ids=["no punycode any more", "by chance punycode of something else"])
def test_a_regions_name_is_made_from_the_first_label_which_is_no_punycode(tmp_path: Path, region: str) -> None:
    fleet = FLEET.replace("name: us\n", f"name: {region}\n").replace("[us,", f"[{region},")
    assert codes(tmp_path, fleet, hosted("xn--bcher-kva.example")) == ["unusable-name"]


def test_names_are_kept_as_they_are_compared(tmp_path: Path) -> None:
    fleet = replaced(FLEET, "  regions:\n", "  domain: Example.COM.\n  regions:\n")
    spec = load(write(tmp_path, fleet=fleet, application=hosted("Shop.Example.com.")))
    assert spec.domain == "example.com"
    assert spec.applications[0].spec.traffic.host == "shop.example.com"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("us.atlas.internal", "reserved-host"),
        ("gateway.jp.atlas.internal", "reserved-host"),
        ("ns.eu.atlas.internal", "reserved-host"),
        ("GATEWAY.JP.Atlas.Internal.", "reserved-host"),
        ("deep.below.gateway.jp.atlas.internal", "reserved-host"),
        ("pay.atlas.internal", "shared-host"),
        ("pay-us.atlas.internal", "shared-host"),
        ("pay.elsewhere.com", "shared-host"),
    ],
)
@pytest.mark.parametrize("layer", ["spec", "environments", "overrides"])
def test_a_host_shadows_no_other_name(tmp_path: Path, host: str, code: str, layer: str) -> None:
    if layer == "spec":
        mine = hosted(host)
    else:
        name = "name: production, " if layer == "environments" else ""
        mine = f"{APPLICATION}  {layer}:\n    - {{{name}spec: {{traffic: {{host: {host}}}}}}}\n"
    assert codes(tmp_path, FLEET, PAY, mine) == [code]


def test_an_application_is_not_called_like_a_region_or_anothers_regional_name(tmp_path: Path) -> None:
    assert codes(tmp_path, FLEET, APPLICATION.replace("name: shop", "name: us")) == ["reserved-host"]
    assert codes(tmp_path, FLEET, APPLICATION, APPLICATION.replace("name: shop", "name: shop-jp")) == ["shared-host"]


def test_hosts_of_different_domains_may_begin_alike(tmp_path: Path) -> None:
    assert codes(tmp_path, FLEET, hosted("api.one.com"), hosted("api.two.com", PAY)) == []


@pytest.mark.parametrize("region", ["operator", "localhost"])
def test_a_region_does_not_get_anothers_certificate_name(tmp_path: Path, region: str) -> None:
    fleet = FLEET.replace("jp", region)
    assert codes(tmp_path, fleet) == ["reserved-name"]


@pytest.mark.parametrize("name", ["kube-system", "kube-anything", "leeward-system", "default"])
def test_a_namespace_is_not_anothers(tmp_path: Path, name: str) -> None:
    assert codes(tmp_path, FLEET, APPLICATION.replace("name: shop", f"name: {name}")) == ["reserved-name"]
    assert codes(tmp_path, FLEET, f"{APPLICATION}  namespace: {name}\n") == ["reserved-name"]


def test_a_cluster_is_not_called_like_a_region_without_clusters(tmp_path: Path) -> None:
    fleet = replaced(FLEET, "- name: us\n", "- name: us\n      clusters: [{name: jp}]\n")
    assert codes(tmp_path, fleet) == ["duplicate-name"]
    fleet = replaced(FLEET, "- name: us\n", "- name: us\n      clusters: [{name: us}]\n")
    assert codes(tmp_path, fleet) == []


def test_names_that_are_too_long_together(tmp_path: Path) -> None:
    long = FLEET.replace("jp", "j" * 40)
    assert codes(tmp_path, long) == []
    assert codes(tmp_path, long, APPLICATION.replace("name: shop", f"name: {'s' * 23}")) == ["unusable-name"]
    assert codes(tmp_path, long, APPLICATION.replace("name: shop", f"name: {'s' * 22}")) == []
    domain = f"{LABEL}.{LABEL}.{LABEL}.{'d' * 57}"
    assert len(domain) == 249
    assert "unusable-name" in codes(tmp_path, replaced(FLEET, "  regions:\n", f"  domain: {domain}\n  regions:\n"))


PATTERNED: list[tuple[str, Callable[[str], tuple[str, str]]]] = [
    ("a fleet's name", lambda end: (replaced(FLEET, "name: atlas", f'name: "atlas{end}"'), APPLICATION)),
    ("an application's name", lambda end: (FLEET, replaced(APPLICATION, "name: shop", f'name: "shop{end}"'))),
    ("a duration", lambda end: (FLEET, replaced(APPLICATION, "rto: 5s", f'rto: "5s{end}"'))),
    ("an amount", lambda end: (FLEET, f'{APPLICATION}  database: {{storage: "10Gi{end}"}}\n')),
    ("a path", lambda end: (FLEET, f'{APPLICATION}  traffic: {{prefix: "/a{end}"}}\n')),
    (
        "a variable",
        lambda end: (FLEET, replaced(APPLICATION, IMAGE, IMAGE + f'    config: {{"A{end}": b}}\n')),
    ),
    ("a namespace", lambda end: (FLEET, f'{APPLICATION}  namespace: "shops{end}"\n')),
    (
        "a version",
        lambda end: (
            replaced(FLEET, "- name: us\n", f'- name: us\n      clusters: [{{name: a, version: "1.33{end}"}}]\n'),
            APPLICATION,
        ),
    ),
    (
        "a range of addresses",
        lambda end: (
            replaced(FLEET, "- name: us\n", f'- name: us\n      clusters: [{{name: a, podCIDR: "10.0.0.0/8{end}"}}]\n'),
            APPLICATION,
        ),
    ),
    ("who moves a canary", lambda end: (FLEET, f'{APPLICATION}  rollout: {{canary: {{by: "leeward{end}"}}}}\n')),
    (
        "a patch",
        lambda end: (
            FLEET,
            APPLICATION + OVERRIDDEN.replace("END", end),
        ),
    ),
]


@pytest.mark.parametrize(("what", "files"), PATTERNED, ids=[what for what, _ in PATTERNED])
def test_a_pattern_holds_for_the_whole_text(tmp_path: Path, what: str, files: Callable[[str], tuple[str, str]]) -> None:
    assert problems_of(write(tmp_path, *files(""))) == (), what
    for end in ("\\n", "\\r\\n", "\\0", "\\u2028", " "):
        assert problems_of(write(tmp_path, *files(end))) != (), f"{what} and {end}"


def test_what_is_endless_is_refused(tmp_path: Path) -> None:
    for nested in ("[" * 5000, "{a: " * 5000, "- " * 5000):
        assert "yaml-syntax" in codes(tmp_path, FLEET, APPLICATION, nested)
    endless = replaced(APPLICATION, "rto: 5s", f"rto: {'9' * 400}h")
    (tmp_path / "1.yaml").unlink()
    assert codes(tmp_path, FLEET, endless) == ["bad-duration"]


def test_a_fleet_of_witnesses_is_refused_and_nothing_fails(tmp_path: Path) -> None:
    fleet = FLEET
    for region in ("us", "eu", "jp"):
        fleet = fleet.replace(f"- name: {region}\n", f"- name: {region}\n      witness: true\n")
    assert "too-many-witnesses" in codes(tmp_path, fleet)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    if dns_names.wrong(text) is None:
        plain = dns_names.compared(text)
        assert plain.isascii()
        assert dns_names.wrong(plain) is None
        assert "*" not in regional_name(plain, "us")


@given(st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){1,3}\Z"))
def test_what_is_a_name_is_one_on_the_wire(text: str) -> None:
    if dns_names.wrong(text) is None:
        assert dns.name.from_text(text).to_text(omit_final_dot=True) == text
