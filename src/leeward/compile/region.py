"""All objects of one region: the concerns, in the order in which they can be created."""

from leeward.compile.agent import agent
from leeward.compile.database import database
from leeward.compile.identity import secrets
from leeward.compile.namespaces import namespaces
from leeward.compile.objects import KubeObject
from leeward.compile.quorum import quorum
from leeward.compile.service import service
from leeward.compile.target import Target
from leeward.spec.problem import Problem, ProblemsError
from leeward.spec.spec import Spec


def compile_region(spec: Spec, region: str, target: Target) -> list[KubeObject]:
    """Return the region's objects in a stable order, each after those it needs.

    A witness gets the quorum member and the agent; a region outside an application's placement nothing of that
    application. Raises KeyError for a region there is not, ProblemsError for what cannot be compiled yet.
    """
    spec.region(region)
    _check(spec)
    placed = [application for application in spec.applications if region in spec.placement(application)]
    return [
        *namespaces(spec, region),
        *(secrets(spec, region, target.secrets) if target.secrets else []),
        *quorum(spec, region, target),
        *agent(spec, region, target),
        *(item for application in placed for item in database(spec, application, region, target)),
        *(item for application in placed for item in service(application, region, target)),
    ]


def _check(spec: Spec) -> None:
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
