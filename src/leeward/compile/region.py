"""All objects of one region: the concerns, in the order in which they can be created."""

from leeward.compile.agent import agent, grants
from leeward.compile.cloudnative_pg import cloudnative_pg
from leeward.compile.cockroachdb import cockroachdb
from leeward.compile.database import database
from leeward.compile.identity import secrets
from leeward.compile.namespaces import application_namespace, namespaces, system_namespace
from leeward.compile.objects import KubeObject
from leeward.compile.quorum import quorum
from leeward.compile.service import service
from leeward.compile.target import Target
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.problem import Problem, ProblemsError
from leeward.spec.spec import Spec


def compile_region(spec: Spec, region: str, target: Target) -> list[KubeObject]:
    """Return the region's objects in a stable order, each after those it needs.

    A witness gets the quorum member and the agent; a region outside an application's placement nothing of that
    application. Raises KeyError for a region there is not, ProblemsError for what cannot be compiled yet.
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
        *(item for application in placed for item in service(application, region, target)),
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
        *(grants(application, region) if home else []),
        *(_data(spec, application, region, target) if home else []),
        *service(application, region, target),
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
        wanted = application.spec.database
        if wanted.engine is not Engine.POSTGRES or wanted.operator is not Operator.LEEWARD:
            raise ProblemsError(
                [
                    Problem(
                        code="kubernetes-only",
                        where=f"application {application.metadata.name}, spec.database",
                        what="the world on one machine cannot run this database",
                        why="it has PostgreSQL with Leeward's instance manager, and nothing else",
                        fix="leave out engine and operator for the world; leeward render compiles the others",
                    )
                ]
            )
    if len(spec.applications) > 1:
        names = ", ".join(application.metadata.name for application in spec.applications)
        raise ProblemsError(
            [
                Problem(
                    code="several-applications",
                    where=f"fleet {spec.fleet.metadata.name}",
                    what=f"it is to run {len(spec.applications)} applications: {names}",
                    why="a gateway has one route to one primary database so far",
                    fix="put each application into a directory of its own, with its fleet",
                )
            ]
        )
