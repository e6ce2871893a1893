"""Records at providers: what each can be told, and nothing that it would refuse."""

from fnmatch import fnmatchcase

import pytest

from leeward.adapters.envoy.routes import users as routes_of
from leeward.adapters.envoy.settings import of_agent
from leeward.compile import KubeObject, compile_cluster
from leeward.compile.traffic.records.geography import names_at
from leeward.core import codec
from leeward.core.settings import AgentSettings
from leeward.ports.gateway import Route
from leeward.spec import ProblemsError, Severity, Spec
from leeward.spec.fleet import Location, Provider, Region
from leeward.spec.load import resolve
from leeward.spec.source import read
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only

COMMANDS = engine_commands()
FILE = """\
apiVersion: leeward.dev/v1alpha1
kind: Fleet
metadata: {{name: world}}
spec:
  domain: example.com
  dns: {{provider: {provider}, zoneId: Z1}}
  regions:
    - {{name: eu-west-3, provider: aws, location: {{latitude: 48.9, longitude: 2.4}}}}
    - {{name: brussels, location: {{latitude: 50.8, longitude: 4.4}}}}
    - {{name: tokyo, location: {{latitude: 35.7, longitude: 139.8}}}}
---
apiVersion: leeward.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  service: {{image: "example.com/shop:1", command: [shop], resources: {{requests: {{cpu: 100m, memory: 64Mi}}}}}}
  traffic: {{dns: {policy}}}
  placement: {{primary: eu-west-3}}
"""
CLUSTERS = ("eu-west-3", "brussels", "tokyo")


def spec_of(provider: str, policy: str) -> Spec:
    return resolve("world.yaml", *read("world.yaml", FILE.format(provider=provider, policy=policy)))


def objects(provider: str, policy: str, wanted: str) -> list[KubeObject]:
    """Return the objects of a kind in all clusters."""
    spec = spec_of(provider, policy)
    return [item for cluster in CLUSTERS for item in kind(compile_cluster(spec, cluster, engines=COMMANDS), wanted)]


@pytest.mark.parametrize("policy", ["latency", "weighted", "failover", "geographic"])
def test_route_53_gets_no_two_records_that_exclude_each_other(policy: str) -> None:
    specs = [each["spec"] for each in objects("route53", policy, "RecordSet")]
    identities = [(each["name"], each["setIdentifier"]) for each in specs]
    assert len(set(identities)) == len(identities)
    for one in ("region", "failover", "geoLocation"):
        said = [(each["name"], str(each[one])) for each in specs if one in each]
        assert len(set(said)) == len(said)
    host = [each for each in specs if each["name"] == "shop.example.com."]
    keys = {key for each in host for key in each if key in ("region", "weight", "failover", "geoLocation")}
    assert len(keys) == 1, "records of one name follow one policy"


def test_route_53_sends_users_whose_region_is_lost_to_the_nearest_left() -> None:
    specs = [each["spec"] for each in objects("route53", "geographic", "RecordSet")]
    where = {each["setIdentifier"]: each for each in specs if each["name"] == "shop.example.com."}
    assert {name: each["geoLocation"] for name, each in where.items()} == {
        "eu-west-3": {"continentCode": "EU"},
        "tokyo": {"continentCode": "AS"},
        "anywhere": {"countryCode": "*"},
    }
    (target,) = where["anywhere"]["resourceRecords"]
    nearest = [each for each in specs if f"{target['value']}." == each["name"]]
    assert {each["setIdentifier"] for each in nearest} == {f"{region}-nearest" for region in CLUSTERS}
    assert all("healthCheckRef" in each for each in nearest)


@pytest.mark.parametrize("policy", ["latency", "weighted", "failover", "geographic"])
def test_traffic_manager_gets_places_and_users_it_knows(policy: str) -> None:
    specs = [each["spec"] for each in objects("azure", policy, "TrafficManagerProfilesExternalEndpoint")]
    places = [each["endpointLocation"] for each in specs]
    assert len(set(places)) == len(places)
    assert not {"eu-west-3", "brussels", "tokyo"} & set(places)
    users = [code for each in specs for code in each.get("geoMapping", ())]
    assert users == (["GEO-EU", "WORLD", "GEO-AS"] if policy == "geographic" else [])


def test_cloud_dns_gets_regions_of_googles() -> None:
    (policy,) = (
        each["spec"]["routingPolicy"]
        for each in objects("cloud-dns", "latency", "DNSRecordSet")
        if "routingPolicy" in each["spec"]
    )
    places = {each["location"]: each["rrdatasRefs"][0]["external"] for each in policy["geo"]}
    assert places["europe-west1"] == "gateway.eu-west-3.example.com."
    assert places["asia-northeast1"] == "gateway.tokyo.example.com."


@pytest.mark.parametrize(("provider", "policy"), [("cloud-dns", "failover"), ("cloudflare", "weighted")])
def test_a_policy_that_a_provider_does_not_support_is_refused(provider: str, policy: str) -> None:
    with pytest.raises(ProblemsError) as error:
        spec_of(provider, policy)
    assert [problem.code for problem in error.value.problems if problem.severity is Severity.ERROR] == [
        "unsupported-policy"
    ]


def test_a_region_is_named_after_the_nearest_free_one() -> None:
    ghent = Location(latitude=51.1, longitude=3.7)
    regions = [Region(name=name, location=ghent) for name in ("one", "other")]
    regions.append(Region(name="europe-west1", provider=Provider.GCP, location=ghent))
    found = names_at(regions, Provider.GCP)
    assert found["europe-west1"] == "europe-west1"
    assert len(set(found.values())) == 3
    assert all(name.startswith("europe-") for name in found.values())


@pytest.mark.parametrize(("provider", "wanted"), [("route53", "HealthCheck"), ("azure", "TrafficManagerProfile")])
def test_a_providers_checks_reach_the_application_through_its_gateway(provider: str, wanted: str) -> None:
    """On a port of the gateway, in the protocol that is spoken there, under a host that is the application's."""
    text = FILE.format(provider=provider, policy="latency")
    other = text.partition("---\n")[2].replace("name: shop", "name: pay")
    spec = resolve("world.yaml", *read("world.yaml", f"{text}---\n{other}"))
    for cluster in CLUSTERS:
        items = compile_cluster(spec, cluster, engines=COMMANDS)
        gateway = only(items, "Service", "leeward-gateway")
        plain = {port["port"] for port in gateway["spec"]["ports"] if port["targetPort"] == "users"}
        settings = codec.decode(AgentSettings, only(items, "ConfigMap", "leeward-agent")["data"]["agent.json"])
        routes = tuple(Route(app=each.name, epoch=1, pods=(), instance=None, primary=None) for each in settings.apps)
        hosts = routes_of(of_agent(settings), routes)["virtual_hosts"]
        for item in kind(items, wanted):
            config = item["spec"].get("healthCheckConfig") or item["spec"]["monitorConfig"]
            protocol = config.get("type") or config["protocol"]
            assert (protocol, config["port"] in plain) == ("HTTP", True)
            headers = {each["name"]: each["value"] for each in config.get("customHeaders", ())}
            asked = config.get("fullyQualifiedDomainName") or headers["host"]
            (found,) = (each["name"] for each in hosts if any(fnmatchcase(asked, domain) for domain in each["domains"]))
            assert found == item["metadata"]["labels"]["app.kubernetes.io/part-of"]
