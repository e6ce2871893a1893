"""What no single field of an application shows: references to regions, and objectives that cannot be met."""

from collections.abc import Callable, Iterable, Iterator

from leeward.base.problem import Problem
from leeward.base.suggestions import suggestion
from leeward.base.units import duration_text
from leeward.core import timers
from leeward.core.values import ReplicationMode
from leeward.spec.application import Application, Engine
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Place
from leeward.spec.spec import is_synchronous, placement, rtt_max_s, shortest_budget

RESERVED_NAMESPACES = ("default", "leeward-system")
RESERVED_PREFIX = "kube-"
"""Namespaces that begin so are Kubernetes' own, by its documentation."""
RESERVED_DATABASES = ("leeward", "none", "postgres", "public", "replicator", "template0", "template1")
"""Names of databases and roles in PostgreSQL that are its own, or Leeward's."""
RESERVED_ENV = (
    "DATABASE_HOST",
    "DATABASE_NAME",
    "DATABASE_PORT",
    "DATABASE_READ_HOST",
    "DATABASE_READ_PORT",
    "DATABASE_USER",
    "EXAMPLE_DIR",
    "IDENTITY_DIR",
    "PASSWORD_FILE",
    "POD_IP",
    "PORT",
    "REGION",
)


def check_application(application: Loaded[Application], fleet: Fleet) -> list[Problem]:
    """Return what is wrong with an application in this fleet."""
    return [
        *_names(application),
        *_service(application),
        *(problem for check in APPLICATION_CHECKS for problem in check(application, fleet)),
    ]


def check_unique(applications: Iterable[Loaded[Application]]) -> list[Problem]:
    """Return applications that bear the name of an earlier one."""
    first: dict[str, Loaded[Application]] = {}
    problems = []
    for application in applications:
        name = application.model.metadata.name
        earlier = first.setdefault(name, application)
        if earlier is not application:
            where = earlier.document.where(("metadata", "name"))
            problems.append(
                application.problem(
                    "duplicate-name",
                    "metadata",
                    "name",
                    what=f"there are two applications called {name}",
                    why=f"the other one is in {where}; the name is also its namespace and its database",
                    fix="give one of them another name",
                )
            )
    return problems


def _names(application: Loaded[Application]) -> Iterator[Problem]:
    name, namespace = application.model.metadata.name, application.model.spec.namespace
    if _is_reserved(name):
        yield application.problem(
            "reserved-name",
            "metadata",
            "name",
            what=f"an application cannot be called {name}",
            why="its name becomes its namespace, and that one belongs to Kubernetes or to Leeward",
            fix="choose another name",
        )
    if namespace is not None and _is_reserved(namespace):
        yield application.problem(
            "reserved-name",
            *("spec", "namespace"),
            what=f"an application cannot be in namespace {namespace}",
            why="that one belongs to Kubernetes or to Leeward",
            fix="leave namespace out, or choose another one",
        )
    if name in RESERVED_DATABASES and application.model.spec.database.engine is Engine.POSTGRES:
        yield application.problem(
            "reserved-name",
            "metadata",
            "name",
            what=f"an application with a PostgreSQL database cannot be called {name}",
            why="its name becomes its database and that one's owner, and this one is PostgreSQL's or Leeward's own",
            fix="choose another name",
        )


def _is_reserved(namespace: str) -> bool:
    return namespace in RESERVED_NAMESPACES or namespace.startswith(RESERVED_PREFIX)


def _service(application: Loaded[Application]) -> Iterator[Problem]:
    service = application.model.spec.service
    for name in service.env:
        if name in RESERVED_ENV:
            yield application.problem(
                "reserved-env",
                *("spec", "service", "env", name),
                key=True,
                what=f"{name} is set by Leeward",
                why="it tells the service where it runs and where its database is",
                fix="remove it here, or use another name",
            )
    yield from _resources(application)
    scaling = service.autoscaling
    if scaling is None:
        return
    if scaling.min > scaling.max:
        yield application.problem(
            "bad-autoscaling",
            *("spec", "service", "autoscaling", "min"),
            what=f"autoscaling.min is {scaling.min}, more than autoscaling.max, {scaling.max}",
            why="no number of pods satisfies both",
            fix=f"set min to at most {scaling.max}",
        )
    elif not scaling.min <= service.replicas <= scaling.max:
        yield application.problem(
            "bad-autoscaling",
            *("spec", "service", "autoscaling"),
            key=True,
            what=f"replicas is {service.replicas}, outside autoscaling's {scaling.min} to {scaling.max}",
            why="the service starts with replicas, and the autoscaler would change the number at once",
            fix=f"set replicas to a number from {scaling.min} to {scaling.max}",
        )
    if service.resources.requests.cpu is None:
        yield application.problem(
            "bad-autoscaling",
            *("spec", "service", "autoscaling"),
            key=True,
            what="autoscaling by CPU is set, but resources.requests.cpu is missing",
            why="utilization is measured in percent of what is requested",
            fix="set service.resources.requests.cpu, such as 250m",
        )


def _resources(application: Loaded[Application]) -> Iterator[Problem]:
    wanted = application.model.spec.service.resources
    for name, request, limit in (
        ("cpu", wanted.requests.cpu, wanted.limits.cpu),
        ("memory", wanted.requests.memory, wanted.limits.memory),
    ):
        if request is not None and limit is not None and request.amount > limit.amount:
            yield application.problem(
                "request-above-limit",
                *("spec", "service", "resources", "requests", name),
                what=f"requests.{name} is {request.text}, more than limits.{name}, {limit.text}",
                why="a container would request more than it may use; Kubernetes rejects such a pod",
                fix=f"set requests.{name} to at most {limit.text}",
            )


def _placement(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    wanted = application.model.spec.placement
    regions = {region.name: region for region in fleet.spec.regions}
    workable = [name for name, region in regions.items() if not region.witness]
    named: list[tuple[str, Place]] = [
        (name, ("spec", "placement", "regions", index)) for index, name in enumerate(wanted.regions or ())
    ]
    if wanted.primary is not None:
        named.append((wanted.primary, ("spec", "placement", "primary")))
    for name, place in named:
        if name not in regions:
            yield application.problem(
                "unknown-region",
                *place,
                what=f"the fleet has no region {name}",
                why=f"fleet {fleet.metadata.name} has {', '.join(regions)}",
                fix=suggestion(name, workable),
            )
        elif regions[name].witness:
            yield application.problem(
                "placement-on-witness",
                *place,
                what=f"{name} is a witness",
                why="a witness takes part in the quorum and runs no workloads",
                fix=f"use {', '.join(workable)}, or remove witness: true from {name} in the fleet",
            )
    for index, name in enumerate(wanted.regions or ()):
        if name in (wanted.regions or ())[:index]:
            yield application.problem(
                "duplicate-name",
                *("spec", "placement", "regions", index),
                what=f"{name} is given twice",
                why="an application runs once in a region; more pods are service.replicas",
                fix="remove one of them",
            )
    if wanted.primary is not None and wanted.regions is not None and wanted.primary not in wanted.regions:
        yield application.problem(
            "primary-not-placed",
            *("spec", "placement", "primary"),
            what=f"the primary is to be in {wanted.primary}, which is not in placement.regions",
            why="the database's primary needs a region the application runs in",
            fix=f"add {wanted.primary} to placement.regions, or choose {' or '.join(wanted.regions)}",
        )
    # For tier 1 this is reported with another code.
    if wanted.regions is not None and len(set(wanted.regions)) == 1 and wanted.tier != 1:
        yield application.problem(
            "single-region",
            *("spec", "placement", "regions"),
            what=f"the application runs in {wanted.regions[0]} only",
            why="when that region is lost there is nowhere to fail over to, and no RTO can be met",
            fix="add another region",
        )


def _residency(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    wanted = application.model.spec.placement
    regions = {region.name: region for region in fleet.spec.regions}
    for name in placement(fleet, application.model):
        region = regions.get(name)
        if region is None or not wanted.residency or region.residency in wanted.residency:
            continue
        yield application.problem(
            "residency",
            *("spec", "placement", "residency"),
            what=f"data may not be in {name}",
            why=f"its residency is {region.residency or 'not stated'}, and {', '.join(wanted.residency)} is asked for",
            fix=f"leave {name} out of placement.regions, or allow its residency",
        )


def _recovery_time(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    objectives = application.model.spec.objectives
    rtt = rtt_max_s(fleet)
    synchronous = is_synchronous(application.model)
    shortest = shortest_budget(fleet, application.model)
    if timers.feasible(objectives.rto_s, rtt, synchronous=synchronous) is None:
        yield application.problem(
            "rto-infeasible",
            *("spec", "objectives", "rto"),
            what=f"rto is {duration_text(objectives.rto_s)}, and a failover takes {shortest.total_s:.2f} s",
            why=f"{shortest.arithmetic()}; the lease cannot be shorter than the larger of"
            f" {timers.LEASE_MIN_S:g} s and {timers.ROUND_TRIPS_PER_LEASE} round trips of {duration_text(rtt)}",
            fix=f"set rto to {_seconds_up(shortest.total_s)} or more, or use regions closer together",
        )
        return
    ttl_s = application.model.spec.traffic.dns_ttl_s
    if ttl_s is not None and shortest.total_s + ttl_s > objectives.rto_s:
        room_s = objectives.rto_s - shortest.total_s
        yield application.problem(
            "dns-ttl-exceeds-rto",
            *("spec", "traffic", "dnsTTL"),
            what=f"with a dnsTTL of {duration_text(ttl_s)} the rto of {duration_text(objectives.rto_s)} cannot hold",
            why=f"a client that knows only DNS keeps the lost region's address for that long: failover"
            f" {shortest.total_s:.2f} + dnsTTL {ttl_s:.2f} = {shortest.total_s + ttl_s:.2f} s",
            fix=f"set dnsTTL to at most {int(room_s * 1000)}ms, leave it out, or raise rto to"
            f" {_seconds_up(shortest.total_s + ttl_s)}",
        )


def _recovery_point(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    objectives, database = application.model.spec.objectives, application.model.spec.database
    if database.replication is not ReplicationMode.ASYNC:
        return
    lease_s = timers.lease_min_s(rtt_max_s(fleet))
    if objectives.rpo_s == 0:
        yield application.problem(
            "rpo-needs-sync",
            *("spec", "objectives", "rpo"),
            what="rpo is 0s, and replication is async",
            why="an asynchronous primary acknowledges writes before another region has them; they are lost with it",
            fix="set database.replication to quorum or sync, or rpo to what may be lost, such as 5s",
        )
    elif objectives.rpo_s < lease_s:
        yield application.problem(
            "rpo-below-lease",
            *("spec", "objectives", "rpo"),
            what=f"rpo is {duration_text(objectives.rpo_s)}, and a primary that is cut off can lose {lease_s:g} s",
            why=f"with replication async it acknowledges until its lease of {lease_s:g} s is over, even isolated",
            fix=f"set rpo to {_seconds_up(lease_s)} or more, or database.replication to quorum or sync",
        )


def _seconds_up(seconds: float) -> str:
    """Return a duration no shorter than this, to tenths of a second."""
    tenths = int(seconds * 10)
    return f"{(tenths + 1) / 10:g}s" if tenths < seconds * 10 else f"{tenths / 10:g}s"


APPLICATION_CHECKS: tuple[Callable[[Loaded[Application], Fleet], Iterator[Problem]], ...] = (
    _placement,
    _residency,
    _recovery_time,
    _recovery_point,
)
