"""Read a region's Kubernetes objects and logs, through its front door."""

import json
import sys
from datetime import UTC, datetime

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.base.problem import Problem
from leeward.cli import jsonpath, objects, render
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import Form, Output
from leeward.cli.running import run
from leeward.cli.worlds_here import cluster_of
from leeward.ports.cluster import (
    BUILT_IN,
    EVENTS,
    PODS,
    ClusterUnavailableError,
    KubeObject,
    NotFoundError,
    RejectedError,
    Resource,
)

TIMEOUT_S = 5.0


def get(
    console: Console,
    world: str | None,
    region: str,
    kind: str,
    name: str | None,
    namespace: str | None,
    form: Form,
) -> ExitCode:
    """Print the objects of one kind."""
    resource = _resource(kind)
    items = run(_find(world, region, resource, name, namespace), console)
    match form.output:
        case Output.JSON:
            console.data(json.dumps(_document(items, name), indent=2))
        case Output.YAML:
            console.data(render.as_yaml(_document(items, name)))
        case Output.JSONPATH:
            console.data(jsonpath.render(form.template, _document(items, name)))
        case Output.NAME:
            console.data(objects.names(resource, items))
        case Output.TABLE | Output.WIDE:
            if not items:
                console.note(f"no {resource.plural} in {namespace or 'any namespace'} of {region}")
                return ExitCode.DONE
            console.data(
                objects.listing(
                    resource,
                    items,
                    now=datetime.now(UTC),
                    namespaces=resource.namespaced and namespace is None,
                    wide=form.output is Output.WIDE,
                )
            )
    return ExitCode.DONE


def describe(console: Console, world: str | None, region: str, kind: str, name: str, namespace: str | None) -> ExitCode:
    """Print all about one object, and its events."""
    item, events = run(_with_events(world, region, _resource(kind), name, namespace), console)
    console.data(objects.description(item, events, now=datetime.now(UTC)))
    return ExitCode.DONE


def logs(
    console: Console,
    world: str | None,
    region: str,
    pod: str,
    namespace: str | None,
    *,
    container: str | None,
    follow: bool,
    tail: int | None,
) -> ExitCode:
    """Copy a container's log to stdout."""
    run(_copy_log(world, region, pod, namespace, container, follow=follow, tail=tail), console)
    return ExitCode.DONE


async def _find(
    world: str | None, region: str, resource: Resource, name: str | None, namespace: str | None
) -> list[KubeObject]:
    """Return the requested objects. Raises CommandError for an unknown name."""
    async with cluster_of(world, region) as cluster:
        return await _objects(cluster, region, resource, name, namespace)


async def _objects(
    cluster: KubernetesCluster, region: str, resource: Resource, name: str | None, namespace: str | None
) -> list[KubeObject]:
    try:
        listing = await cluster.list(resource, namespace=namespace, timeout_s=TIMEOUT_S)
    except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
        raise unreachable(region, error) from error
    found = [item for item in listing.items if name is None or item["metadata"]["name"] == name]
    if name is not None and not found:
        known = ", ".join(sorted(item["metadata"]["name"] for item in listing.items)) or "none"
        raise CommandError(
            Problem(
                code="not-found",
                where=f"region {region}",
                what=f"{resource.kind} {name!r} was not found in {namespace or 'any namespace'}",
                why=f"its {resource.plural} are: {known}",
                fix=f"use one of these; leeward get {resource.plural} --region {region} lists them",
            ),
            code=ExitCode.NO,
        )
    return found


async def _one(
    cluster: KubernetesCluster, region: str, resource: Resource, name: str, namespace: str | None
) -> KubeObject:
    """Return the one object of that name, in any namespace."""
    found = await _objects(cluster, region, resource, name, namespace)
    if len(found) > 1:
        namespaces = [item["metadata"]["namespace"] for item in found]
        raise CommandError(
            Problem(
                code="ambiguous-name",
                where=f"region {region}",
                what=f"{len(found)} namespaces have a {resource.kind} {name!r}",
                why=f"they are {', '.join(namespaces)}",
                fix=f"choose one: -n {namespaces[0]}",
            )
        )
    return found[0]


async def _with_events(
    world: str | None, region: str, resource: Resource, name: str, namespace: str | None
) -> tuple[KubeObject, list[KubeObject]]:
    async with cluster_of(world, region) as cluster:
        item = await _one(cluster, region, resource, name, namespace)
        events = await _objects(cluster, region, EVENTS, None, item["metadata"].get("namespace"))
        involved = (resource.kind, name)
        return item, [
            event
            for event in events
            if (event["involvedObject"].get("kind"), event["involvedObject"].get("name")) == involved
        ]


async def _copy_log(
    world: str | None,
    region: str,
    pod: str,
    namespace: str | None,
    container: str | None,
    *,
    follow: bool,
    tail: int | None,
) -> None:
    async with cluster_of(world, region) as cluster:
        item = await _one(cluster, region, PODS, pod, namespace)
        pieces = cluster.logs(
            pod,
            namespace=item["metadata"]["namespace"],
            container=container,
            follow=follow,
            tail_lines=tail,
            timeout_s=TIMEOUT_S,
        )
        try:
            async for piece in pieces:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
            raise unreachable(region, error) from error


def unreachable(region: str, error: Exception) -> CommandError:
    """Return the error of a region's API server that failed a request."""
    return CommandError(
        Problem(
            code="api-server",
            where=f"API server of region {region}",
            what="the request failed",
            why=str(error),
            fix="check in leeward status whether the region is lost; leeward fault start --region restarts it",
        )
    )


def _resource(kind: str) -> Resource:
    found = objects.resource(kind)
    if found is None:
        raise CommandError(
            Problem(
                code="unknown-kind",
                where="command line",
                what=f"unknown kind {kind!r}",
                why=f"known kinds: {', '.join(each.plural for each in BUILT_IN)}",
                fix="use one of these; short names such as po, deploy, sts, svc work too",
            )
        )
    return found


def _document(items: list[KubeObject], name: str | None) -> KubeObject:
    if name is not None and len(items) == 1:
        return items[0]
    return {"apiVersion": "v1", "kind": "List", "items": items}
