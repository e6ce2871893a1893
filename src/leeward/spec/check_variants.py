"""What is wrong with environments and overrides, and with what an application asks of a place.

A variety is checked as what it becomes: merged into the application, then judged like one that was written out.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from leeward.base.problem import Problem, Severity
from leeward.base.suggestions import suggestion
from leeward.core.values import ReplicationMode
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.check_application import check_application
from leeward.spec.check_canary import check_canary, check_canary_keys
from leeward.spec.check_environments import check_environments
from leeward.spec.check_images import check_images
from leeward.spec.check_ports import check_ports
from leeward.spec.check_secrets import check_secrets
from leeward.spec.check_traffic import check_traffic
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Document, Place
from leeward.spec.spec import rollout_pods_max
from leeward.spec.validate import validate
from leeward.spec.variants import merged, written
from leeward.spec.varieties import varieties

GLOBAL_KEYS = ("objectives", "failover", "placement", "database", "environments", "overrides", "namespace")
BUILT_IN_TIERS = ("service", "database", "gateway", "monitoring", "internet")


def check_variants(application: Loaded[Application], fleet: Fleet) -> list[Problem]:
    """Return what is wrong, and what is worth a warning, in every place the application can run in."""
    problems = [*_places(application, fleet), *_varieties(application, fleet)]
    if not problems:
        problems = [*check_secrets(application), *check_canary_keys(application), *_judged(application, fleet)]
        known = {*check_application(application, fleet), *problems}
        for variety in varieties(application, fleet):
            found = list(variety.problems)
            if variety.loaded is not None:
                found += [*check_application(variety.loaded, fleet), *_judged(variety.loaded, fleet)]
            problems += [
                replace(problem, why=f"{problem.why}; this applies with {variety.origin}")
                for problem in found
                if problem not in known
            ]
            known.update(found)
    if all(problem.severity is not Severity.ERROR for problem in problems):
        problems += check_environments(application, fleet)
    return problems


def _judged(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    yield from _tiers(application, fleet)
    yield from _imports(application, fleet)
    yield from _database(application)
    yield from _blast(application, fleet)
    yield from check_traffic(application, fleet)
    yield from check_canary(application, fleet)
    yield from check_ports(application, fleet)
    yield from check_images(application, fleet)
    yield from _quota(application)


def _places(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    regions = [region.name for region in fleet.spec.regions]
    clusters = [cluster.name for region in fleet.spec.regions for cluster in region.clusters] or regions
    named: list[tuple[str, list[str], str, Place]] = []
    for index, override in enumerate(application.model.spec.overrides):
        at: Place = ("spec", "overrides", index)
        named += [(name, regions, "region", (*at, "regions", i)) for i, name in enumerate(override.regions)]
        named += [(name, clusters, "cluster", (*at, "clusters", i)) for i, name in enumerate(override.clusters)]
    traffic = application.model.spec.traffic
    named += [
        (each.region, regions, "region", ("spec", "traffic", "weights", i, "region"))
        for i, each in enumerate(traffic.weights)
    ]
    for i, pair in enumerate(traffic.failover):
        named += [
            (pair.source, regions, "region", ("spec", "traffic", "failover", i, "from")),
            (pair.target, regions, "region", ("spec", "traffic", "failover", i, "to")),
        ]
    environments = [environment.name for environment in application.model.spec.environments]
    for region in fleet.spec.regions:
        for cluster in region.clusters:
            if environments and cluster.environment is not None and cluster.environment not in environments:
                yield application.problem(
                    "unknown-environment",
                    *("spec", "environments"),
                    key=True,
                    what=f"cluster {cluster.name} runs environment {cluster.environment}, which is not defined",
                    why=f"the environments are {', '.join(environments)}",
                    fix=f"add it, or change the cluster's environment: {suggestion(cluster.environment, environments)}",
                )
    for name, known, noun, place in named:
        if name not in known:
            yield application.problem(
                f"unknown-{noun}",
                *place,
                what=f"the fleet has no {noun} {name}",
                why=f"fleet {fleet.metadata.name} has {', '.join(known)}",
                fix=suggestion(name, known),
            )


def _varieties(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    spec = application.model.spec
    clusters = [cluster.name for region in fleet.spec.regions for cluster in region.clusters]
    for index, override in enumerate(spec.overrides):
        yield from _override(application, index, override.spec)
        for number, patch in enumerate(override.patches):
            if (patch.merge is None) == (not patch.json_patch):
                yield application.problem(
                    "bad-patch",
                    *("spec", "overrides", index, "patches", number),
                    what="a patch has either merge or json",
                    why="it must be clear which of them comes first",
                    fix="make two patches of it, or remove one of the keys",
                )
    names = [environment.name for environment in spec.environments]
    for index, environment in enumerate(spec.environments):
        if environment.name in names[:index]:
            yield application.problem(
                "duplicate-name",
                *("spec", "environments", index, "name"),
                what=f"there are two environments called {environment.name}",
                why="a cluster names the one it runs",
                fix="give one of them another name",
            )
        if environment.name in clusters:
            yield application.problem(
                "duplicate-name",
                *("spec", "environments", index, "name"),
                what=f"an environment and a cluster are called {environment.name}",
                why="both name a folder in apps/APPLICATION/overlays",
                fix="give the environment another name",
            )
        forbidden = [key for key in ("environments", "overrides", "placement") if key in environment.spec]
        for key in forbidden:
            yield application.problem(
                "global-key",
                *("spec", "environments", index, "spec", key),
                key=True,
                what=f"an environment cannot change {key}",
                why="it decides where environments apply",
                fix="set it in the application's own spec",
            )
        if not forbidden:
            yield from _merges(application, ("spec", "environments", index, "spec"), environment.spec)


def _override(application: Loaded[Application], index: int, change: dict[str, Any]) -> Iterator[Problem]:
    place: Place = ("spec", "overrides", index, "spec")
    forbidden = [key for key in change if key in GLOBAL_KEYS]
    for key in forbidden:
        yield application.problem(
            "global-key",
            *place,
            key,
            key=True,
            what=f"{key} cannot differ between regions",
            why="all regions must agree on it, or they cannot take over from one another",
            fix="set it in the application's own spec, or in an environment",
        )
    if not forbidden:
        yield from _merges(application, place, change)


def _merges(application: Loaded[Application], place: Place, change: dict[str, Any]) -> Iterator[Problem]:
    """Yield what the application would be refused for with this change, at the place of the change."""
    plain = written(application.model)
    plain["spec"] = merged(plain["spec"], change)
    document = application.document
    shifted = Document(
        document.file,
        plain,
        {("spec", *key[len(place) :]): at for key, at in document.keys.items() if key[: len(place)] == place},
        {("spec", *key[len(place) :]): at for key, at in document.values.items() if key[: len(place)] == place},
    )
    try:
        Application.model_validate_json(json.dumps(plain))
    except ValidationError:
        yield from validate(shifted, Application)[1]


def _tiers(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    network = application.model.spec.network
    own = [tier.name for tier in network.tiers]
    # Where Prometheus is, the Fleet says.
    unknown = () if fleet.spec.monitoring is not None else ("monitoring",)
    known = [*own, *(name for name in BUILT_IN_TIERS if name not in unknown)]
    for index, tier in enumerate(network.tiers):
        place: Place = ("spec", "network", "tiers", index)
        if tier.name in own[:index] or tier.name in BUILT_IN_TIERS:
            yield application.problem(
                "duplicate-name",
                *place,
                "name",
                what=f"there is another tier called {tier.name}",
                why="rules refer to tiers by name",
                fix="choose another name",
            )
        for number, name in enumerate(tier.allows):
            if name not in known:
                yield _unknown_tier(application, (*place, "allows", number), name, known)
    for number, name in enumerate(network.callers):
        if name not in known:
            yield _unknown_tier(application, ("spec", "network", "callers", number), name, known)


def _imports(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    regions = [region for region in fleet.spec.regions if not region.witness]
    lacking = [region.name for region in regions if not region.clusters]
    lacking += [each.name for region in regions for each in region.clusters if each.pod_cidr is None]
    if application.model.spec.network.imports and lacking:
        yield application.problem(
            "import-without-addresses",
            *("spec", "network", "imports"),
            key=True,
            what=f"services of other clusters are imported, but {', '.join(lacking)} has no podCIDR",
            why="what is not declared is denied, and pods of other clusters can be let through by address only",
            fix="give every cluster of the Fleet its podCIDR",
        )


def _unknown_tier(application: Loaded[Application], place: Place, name: str, known: list[str]) -> Problem:
    return application.problem(
        "unknown-tier",
        *place,
        what=f"tier {name} is not defined",
        why="traffic that no declared tier may send is denied",
        fix=suggestion(name, known),
    )


def _quota(application: Loaded[Application]) -> Iterator[Problem]:
    service, quota = application.model.spec.service, application.model.spec.quota
    pods, database = rollout_pods_max(application.model), application.model.spec.database
    requests = service.resources.requests
    for key, limit, amount in (("cpu", quota.cpu, requests.cpu), ("memory", quota.memory, requests.memory)):
        if limit is not None and amount is not None and amount.amount * pods > limit.amount:
            yield application.problem(
                "quota-below-autoscaling",
                *("spec", "quota", key),
                what=f"quota.{key} is {limit}, and {pods} pods of {amount} ask for {_amount(amount.amount * pods)}",
                why="the autoscaler's last pods would be refused when they are needed most",
                fix=f"set quota.{key} to more than that (the database and sidecars need some too), or leave it out",
            )
    members = 1 if database.engine is Engine.POSTGRES and database.operator is Operator.LEEWARD else database.instances
    if quota.pods is not None and quota.pods < pods + members:
        yield application.problem(
            "quota-below-autoscaling",
            *("spec", "quota", "pods"),
            what=f"quota.pods is {quota.pods}, and the application may have {pods + members}",
            why=f"the service has {pods} at its maximum in a rollout, the database {members}",
            fix=f"set it to {pods + members} or more, or leave it out",
        )


def _amount(amount: Decimal) -> str:
    gibibytes = amount / 2**30
    return f"{gibibytes:.1f}Gi" if gibibytes > 1 else f"{amount.normalize():f}"


def _database(application: Loaded[Application]) -> Iterator[Problem]:
    spec = application.model.spec
    if spec.database.engine is Engine.COCKROACHDB and spec.database.operator is Operator.CLOUDNATIVE_PG:
        yield application.problem(
            "operator-of-another-engine",
            *("spec", "database", "operator"),
            what="cloudnative-pg cannot run cockroachdb",
            why="it is an operator for PostgreSQL",
            fix="remove operator, or set engine to postgres",
        )
    if spec.database.operator is Operator.CLOUDNATIVE_PG and spec.database.replication is not ReplicationMode.ASYNC:
        yield application.problem(
            "operator-replicates-async",
            *("spec", "database", "replication"),
            what=f"cloudnative-pg does not replicate between regions in mode {spec.database.replication}",
            why="its synchronous replicas are members of the same region, and the loss of a region loses writes",
            fix="set replication to async and an rpo above 0s, or leave out operator: Leeward's own can do it",
        )
    elif spec.database.operator is Operator.CLOUDNATIVE_PG and spec.database.engine is Engine.POSTGRES:
        yield application.warning(
            "operator-not-driven",
            *("spec", "database", "operator"),
            what="Leeward neither promotes CloudNativePG's clusters nor leads requests to their primary",
            why="its agents take no part in this operator's databases yet; DATABASE_HOST answers nobody",
            fix="leave out operator for databases that fail over, or promote and connect by your own means",
        )
    if spec.service.interruptible and spec.service.replicas < 2:
        yield application.problem(
            "spot-single-pod",
            *("spec", "service", "interruptible"),
            what="the only pod of a region may be interrupted",
            why="a spot machine goes with two minutes' notice, and nothing would answer in its region meanwhile",
            fix="set replicas to 2 or more, or remove interruptible",
        )


def _blast(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    wanted = application.model.spec.placement
    names = wanted.regions or tuple(region.name for region in fleet.spec.regions if not region.witness)
    providers = {region.provider for region in fleet.spec.regions if region.name in names}
    if wanted.tier == 1 and len(names) < 2:
        yield application.problem(
            "one-cluster-tier-1",
            *("spec", "placement", "tier"),
            what="a tier 1 application runs in one cluster",
            why="a failure of that cluster's control plane, or one bad change to it, takes everything down",
            fix="place it in two regions or more",
        )
    elif wanted.tier == 1 and len(providers) == 1 and len(names) > 1 and "other" not in providers:
        yield application.warning(
            "one-provider-tier-1",
            *("spec", "placement", "tier"),
            what=f"a tier 1 application runs at one provider, {next(iter(providers))}",
            why="providers have failed as a whole: identity, DNS, a global configuration",
            fix="place one region at another provider, or accept the risk",
        )
