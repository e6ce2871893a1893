"""What the application's overrides change in compiled objects of one cluster."""

from leeward.base.problem import Problem, ProblemsError
from leeward.base.suggestions import suggestion
from leeward.compile.kube.objects import KubeObject
from leeward.compile.kube.patching import PatchError, json_patch, strategic_merge
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.overrides import Patch
from leeward.spec.variants import applies


def overrides(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects as the patches for this cluster leave them. Raises ProblemsError for one that cannot apply."""
    for index, override in enumerate(application.spec.overrides):
        if applies(override, site.region.name, site.cluster.name):
            for number, patch in enumerate(override.patches):
                items = _patched(site, application, items, patch, f"overrides[{index}].patches[{number}]")
    return items


def _patched(
    site: Site, application: Application, items: list[KubeObject], patch: Patch, where: str
) -> list[KubeObject]:
    result = list(items)
    found = False
    for index, item in enumerate(items):
        if item["kind"] != patch.target.kind or patch.target.name not in (None, item["metadata"]["name"]):
            continue
        found = True
        try:
            if patch.merge is not None:
                result[index] = strategic_merge(item, patch.merge)
            else:
                operations = [each.model_dump(by_alias=True, exclude_unset=True) for each in patch.json_patch]
                result[index] = json_patch(item, operations)
        except PatchError as error:
            raise _problem(site, application, patch, where, str(error)) from error
    if not found:
        raise _problem(site, application, patch, where, *_absent(patch, items))
    return result


def _absent(patch: Patch, items: list[KubeObject]) -> tuple[str, str]:
    """Return what there is instead of a patch's target, and what was probably meant."""
    kind, name = patch.target.kind, patch.target.name or ""
    names = sorted(item["metadata"]["name"] for item in items if item["kind"] == kind)
    if names:
        return f"there is no {kind} of that name; the existing ones are {', '.join(names)}", suggestion(name, names)
    kinds = sorted({item["kind"] for item in items})
    return f"there is no {kind}; the existing kinds are {', '.join(kinds)}", suggestion(kind, kinds)


def _problem(
    site: Site, application: Application, patch: Patch, where: str, why: str, fix: str | None = None
) -> ProblemsError:
    name = f"/{patch.target.name}" if patch.target.name else ""
    return ProblemsError(
        [
            Problem(
                code="patch-failed",
                where=f"application {application.metadata.name}, spec.{where}",
                what=f"the patch of {patch.target.kind}{name} cannot be applied on {site.cluster.name}",
                why=why,
                fix=fix or f"list the compiled objects: leeward render -f DIR --cluster {site.cluster.name}",
            )
        ]
    )
