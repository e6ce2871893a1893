"""All objects of one region: the concerns, in the order in which they can be created."""

from leeward.base.problem import Problem, ProblemsError
from leeward.compile.app.cloudnative_pg import cloudnative_pg
from leeward.compile.app.cockroachdb import cockroachdb
from leeward.compile.app.database import database
from leeward.compile.app.service import service
from leeward.compile.kube.objects import KubeObject
from leeward.compile.region.agent import agent, grants
from leeward.compile.region.exported import export, imports
from leeward.compile.region.gateway_ports import has_gateway_ports
from leeward.compile.region.identity import has_instance, secrets
from leeward.compile.region.namespaces import application_namespace, namespaces, system_namespace
from leeward.compile.region.quorum import quorum
from leeward.compile.target import DATABASE_ADDRESSES, Target
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.spec import Spec


def compile_region(spec: Spec, region: str, target: Target) -> list[KubeObject]:
    """Return the region's objects in a stable order, each after those it needs.

    A witness gets the quorum member and the agent; a region outside an application's placement nothing of that
    application. Raises KeyError for an unknown region, ProblemsError for what cannot be compiled yet.
    """
    spec.region(region)
    _check(spec, target)
    placed = [application for application in spec.applications if region in spec.placement(application)]
    return [
        *namespaces(spec, region),
        *(secrets(spec, region, target.secrets) if target.secrets else []),
        *quorum(spec, region, target),
        *agent(spec, region, target, granting=placed),
        *(item for application in placed for item in _data(spec, application, region, target)),
        *(item for application in placed for item in service(spec, application, region, target)),
        *(item for application in placed for item in export(spec, application, region)),
        *(item for application in placed for item in imports(application, region)),
    ]


def compile_system(spec: Spec, region: str, target: Target) -> list[KubeObject]:
    """Return Leeward's own objects of a region's home cluster. Raises as ``compile_region``."""
    _check(spec, target)
    return [system_namespace(region), *quorum(spec, region, target), *agent(spec, region, target)]


def compile_application(
    spec: Spec, application: Application, region: str, target: Target, *, home: bool
) -> list[KubeObject]:
    """Return one application's objects in a cluster. Its database is in the region's home cluster only."""
    return [
        application_namespace(application, region),
        *(grants(spec, application, region, target) if home else []),
        *(_data(spec, application, region, target) if home else []),
        *service(spec, application, region, target),
    ]


def _data(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    wanted = application.spec.database
    if wanted.engine is Engine.COCKROACHDB:
        return cockroachdb(spec, application, region, target)
    if wanted.operator is Operator.CLOUDNATIVE_PG:
        return cloudnative_pg(spec, application, region, target)
    return database(spec, application, region, target)


def _check(spec: Spec, target: Target) -> None:
    for application in spec.applications if target.pods is not None else ():
        if not has_instance(application):
            raise ProblemsError(
                [
                    Problem(
                        code="kubernetes-only",
                        where=f"application {application.metadata.name}, spec.database",
                        what="the world on one machine cannot run this database",
                        why="it runs only PostgreSQL with Leeward's instance manager",
                        fix="leave out engine and operator for the world; leeward render supports the others",
                    )
                ]
            )
    databases = sum(map(has_gateway_ports, spec.applications))
    if target.pods is not None and databases > len(DATABASE_ADDRESSES):
        raise ProblemsError(
            [
                Problem(
                    code="world-too-small",
                    where=f"fleet {spec.fleet.metadata.name}",
                    what=f"its applications have {databases} databases, and a world runs {len(DATABASE_ADDRESSES)}",
                    why="each region of a world has that many addresses for databases",
                    fix="put some of the applications into another directory, with a copy of the Fleet",
                )
            ]
        )
