"""The GitOps tree: every file of it, by its path, from the user's two files.

``apps/APP/base`` is what the primary's region runs without an environment; ``overlays/ENVIRONMENT`` and then
``overlays/CLUSTER`` say what differs; ``infrastructure/COMPONENT/CLUSTER`` is what a cluster needs besides;
``clusters/CLUSTER`` gathers what one cluster runs. It never contains the value of a secret.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from leeward.compile.cluster import application_objects, compile_parts, rolled
from leeward.compile.kube.contents import contents
from leeward.compile.kube.kustomize import Files, base, collection, overlay, without_region
from leeward.compile.kube.objects import KubeObject
from leeward.compile.observe.runbooks import runbooks
from leeward.compile.part import Part
from leeward.compile.platform.concerns import ELSEWHERE
from leeward.compile.platform.sealed import is_reference
from leeward.compile.platform.waves import waved
from leeward.compile.site import all_clusters, site_of
from leeward.compile.target import EngineCommands, Images
from leeward.compile.tree.diagram import diagram
from leeward.compile.tree.overview import overview
from leeward.spec.application import Application
from leeward.spec.platform import SecretsBy
from leeward.spec.spec import Spec
from leeward.spec.variants import environment_of


def tree(
    spec: Spec,
    *,
    engines: EngineCommands,
    images: Images | None = None,
    foreign: Iterable[Mapping[str, Any]] = (),
) -> Files:
    """Return every file, sorted by path. Raises ProblemsError for what cannot be compiled."""
    documents = list(foreign)
    files: Files = {}
    parts = {
        cluster.name: compile_parts(spec, cluster.name, engines=engines, images=images, foreign=documents)
        for _, cluster in all_clusters(spec)
    }
    management: list[str] = []
    for name, found in parts.items():
        gathered = []
        for part in found:
            folder = _folder(part, name)
            if part.name in ELSEWHERE:
                management.append(f"../{folder}")
            else:
                gathered.append(f"../../{folder}")
            if part.kind == "infrastructure":
                _put(files, folder, base(part.objects))
        _put(files, f"clusters/{name}", collection(gathered))
    if management:
        _put(files, "management", collection(management))
    for application in spec.applications:
        _application(spec, application, parts, engines, images or Images(), files)
        _put(files, f"apps/{application.metadata.name}/runbooks", runbooks(spec, application))
    files["diagram.mmd"] = diagram(spec)
    files["README.md"] = overview(spec, parts)
    return dict(sorted(files.items()))


def _application(
    spec: Spec,
    application: Application,
    parts: Mapping[str, Sequence[Part]],
    engines: EngineCommands,
    images: Images,
    files: Files,
) -> None:
    app = application.metadata.name
    home = spec.clusters(spec.placement(application)[0])[0]
    root = f"apps/{app}"
    delivered = spec.fleet.spec.gitops is not None
    sealed = spec.fleet.spec.secrets.by is SecretsBy.SEALED

    def built(environments: bool) -> list[KubeObject]:
        plain = _without_places(application, environments=environments)
        alone = Spec(spec.fleet, (plain,))
        site = site_of(alone, home.name, engines=engines, images=images)
        items = application_objects(site, site.spec.applications[0])
        # Ciphertext is the overlays': each cluster has a key of its own.
        items = [item for item in items if not (sealed and is_reference(item))]
        items = rolled(alone, items, contents(items))
        return [without_region(waved(item) if delivered else item) for item in items]

    under, before = "../../base", built(environments=False)
    _put(files, f"{root}/base", base(before))
    chosen = environment_of(application, home.environment)
    if chosen is not None:
        after = built(environments=True)
        _put(files, f"{root}/overlays/{chosen.name}", overlay(under, before, after))
        under, before = f"../{chosen.name}", after
    for region, cluster in all_clusters(spec):
        for part in parts[cluster.name]:
            if part.kind == "apps" and part.name == app:
                _put(files, _folder(part, cluster.name), overlay(under, before, part.objects, region=region.name))


def _without_places(application: Application, *, environments: bool) -> Application:
    """Return the application without overrides, and if asked without environments."""
    changes: dict[str, Any] = {"overrides": ()} if environments else {"overrides": (), "environments": ()}
    return application.model_copy(update={"spec": application.spec.model_copy(update=changes)})


def _folder(part: Part, cluster: str) -> str:
    if part.kind == "infrastructure":
        return f"infrastructure/{part.name}/{cluster}"
    return f"apps/{part.name}/overlays/{cluster}"


def _put(files: Files, folder: str, found: Files) -> None:
    for name, text in found.items():
        files[f"{folder}/{name}"] = text
