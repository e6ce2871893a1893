"""What an API server would make of objects, and what of ours it still has. Nothing is changed."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from leeward.adapters.kubernetes.client import KubernetesCluster, path_of
from leeward.ports.cluster import ClusterUnavailableError, KubeObject, NotFoundError, RejectedError, Resource

T = TypeVar("T")

AT_ONCE = 8
"""Requests under way at a time."""
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Names and labels only: no value of a secret comes over the wire."""
MADE_BY_OTHERS = frozenset(
    ("ControllerRevision", "Endpoints", "EndpointSlice", "Event", "PersistentVolumeClaim", "Pod", "ReplicaSet")
)
"""Kinds that controllers make of ours and that inherit our labels."""
Identity = tuple[str, str, str | None, str]
"""Group, kind, namespace and name: the same object in whatever version."""


@dataclass(frozen=True, slots=True)
class Review:
    """One object: as it is, and as it would be."""

    item: KubeObject
    live: KubeObject | None
    """None: it does not exist."""
    after: KubeObject | None = None
    """None: unknown, since the namespace does not exist yet; or the server refuses."""
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the server has with our label."""

    identities: frozenset[Identity]
    hidden: tuple[str, ...]
    """Kinds that could not be listed, with the reason."""


class Reviewer(KubernetesCluster):
    """An API server that is asked and not changed."""

    async def unknown_kinds(self, items: Iterable[KubeObject], *, timeout_s: float) -> list[tuple[str, str]]:
        """Return every version and kind among objects that the server does not know."""
        unknown = []
        for api_version, kind in sorted({(str(item["apiVersion"]), str(item["kind"])) for item in items}):
            try:
                await self.resource_of(api_version, kind, timeout_s=timeout_s)
            except NotFoundError:
                unknown.append((api_version, kind))
        return unknown

    async def review(self, items: Sequence[KubeObject], *, manager: str, timeout_s: float) -> list[Review]:
        """Return every object's review, in order: a server-side apply as ``manager``, forced, as a dry run.

        Raises RejectedError when reading is not allowed.
        """
        return await _together(self._review(item, manager, timeout_s) for item in items)

    async def labelled(self, selector: str, *, timeout_s: float) -> Found:
        """Return the objects that bear a label and were applied: not what controllers made of them."""
        served, hidden = await self._served(timeout_s)
        answers = await _together(self._list(resource, selector, timeout_s) for resource in served)
        return Found(
            frozenset(identity for answer in answers if not isinstance(answer, str) for identity in answer),
            (*hidden, *(answer for answer in answers if isinstance(answer, str))),
        )

    async def _list(self, resource: Resource, selector: str, timeout_s: float) -> list[Identity] | str:
        """Return a kind's labelled objects, or why they cannot be listed."""
        path, query = path_of(resource, None), {"labelSelector": selector}
        try:
            answer = await self._transport.json("GET", path, query=query, accept=METADATA, timeout_s=timeout_s)
        except (NotFoundError, RejectedError) as error:
            return f"{resource.kind}: {error}"
        return [
            (resource.group, resource.kind, each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in answer.get("items") or ()
            if not each["metadata"].get("ownerReferences")
        ]

    async def _review(self, item: KubeObject, manager: str, timeout_s: float) -> Review:
        resource = await self.resource_of(str(item["apiVersion"]), str(item["kind"]), timeout_s=timeout_s)
        metadata = item["metadata"]
        path = path_of(resource, metadata.get("namespace"), metadata["name"])
        try:
            live: KubeObject | None = await self._transport.json("GET", path, timeout_s=timeout_s)
        except NotFoundError:
            live = None
        try:
            after = await self._transport.json(
                "PATCH",
                path,
                query={"fieldManager": manager, "force": "true", "dryRun": "All"},
                body=item,
                content_type="application/apply-patch+yaml",
                timeout_s=timeout_s,
            )
        except NotFoundError:  # its namespace
            return Review(item, live)
        except RejectedError as error:
            return Review(item, live, refusal=str(error))
        return Review(item, live, after)

    async def _served(self, timeout_s: float) -> tuple[list[Resource], list[str]]:
        """Return every kind that can be listed and applied, in the version the server prefers; and what is down."""
        groups = (await self._transport.json("GET", "/apis", timeout_s=timeout_s)).get("groups") or ()
        versions = ["v1", *(str(each["preferredVersion"]["groupVersion"]) for each in groups)]
        served, hidden = [], []
        for api_version in versions:
            group, _, version = api_version.rpartition("/")
            path = f"/apis/{api_version}" if group else f"/api/{version}"
            try:
                answer = await self._transport.json("GET", path, timeout_s=timeout_s)
            except (ClusterUnavailableError, NotFoundError) as error:
                hidden.append(f"{api_version}: {error}")  # an aggregated API whose server is down
                continue
            served += [
                Resource(group, version, row["name"], row["kind"], namespaced=row["namespaced"])
                for row in answer["resources"]
                if "/" not in row["name"]
                and row["kind"] not in MADE_BY_OTHERS
                and {"list", "patch"} <= set(row.get("verbs") or ())
            ]
        return served, hidden


async def _together(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Return all results in order, a few at a time. Raises the first error; the others are cancelled."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(each: Coroutine[None, None, T]) -> T:
        async with turns:
            return await each

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def identity_of(item: KubeObject) -> Identity:
    """Return what makes an object this one."""
    group, _, _ = str(item["apiVersion"]).rpartition("/")
    return group, str(item["kind"]), item["metadata"].get("namespace"), str(item["metadata"]["name"])
