"""No environment uses another environment's database: an application has one in a fleet.

A region's first cluster holds its replica; gateways lead every pod of the application to the primary, whatever
environment the pod's cluster runs. So all clusters of the placement run the same environment.
"""

from collections.abc import Iterator

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Place
from leeward.spec.spec import placement
from leeward.spec.variants import environment_of


def check_environments(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield a problem for each environment whose pods would write into the database of the primary's environment."""
    model, placed = application.model, placement(fleet, application.model)
    by_name = {region.name: region for region in fleet.spec.regions}
    # The primary's region first: its first cluster says whose the database is.
    clusters = [cluster for name in placed if name in by_name for cluster in by_name[name].clusters]
    running = [(cluster.name, _running(model, cluster.environment)) for cluster in clusters]
    stated = [(cluster, name) for cluster, name in running if name is not None]
    if not stated:
        return
    owner_cluster, owner = stated[0]
    others = dict.fromkeys(name for _, name in stated if name != owner)
    for other in others:
        theirs = ", ".join(cluster for cluster, name in stated if name == other)
        yield application.problem(
            "environments-share-database",
            *_place(model, other),
            what=f"environment {other} ({theirs}) would use the database of environment {owner} ({owner_cluster})",
            why="an application has one database in a fleet, and every cluster's pods write to its primary",
            fix=f"put {theirs} into a Fleet of its own, in another directory, or let all clusters run {owner}",
        )


def _running(application: Application, named: str | None) -> str | None:
    """Return the environment a cluster runs an application in; None where neither file says."""
    chosen = environment_of(application, named)
    return named if chosen is None else chosen.name


def _place(application: Application, environment: str) -> Place:
    names = [each.name for each in application.spec.environments]
    return ("spec", "environments", names.index(environment), "name") if names else ("metadata", "name")
