"""``leeward.ports.quorum.Quorum`` over etcd.

Always true: a watch delivers a revision whole, once, and in order, whichever members it was read from;
it resumes after the last revision delivered. A transaction is sent at most once.

Two properties of etcd that callers notice: a member without a leader does not refuse a transaction but holds
it until there is one, and a transaction forwarded to a leader that dies is never answered. Both end with
QuorumUnavailableError at the deadline; callers need short deadlines and retries.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp

from leeward.adapters.etcd.gateway import Endpoint, Gateway, RequestRefusedError, open_gateway
from leeward.adapters.etcd.wire import (
    PROGRESS_S,
    CanceledError,
    CompactedAtError,
    Header,
    Lines,
    any_key,
    changes_of,
    created_of,
    header_of,
    outcome_of,
    prefix_range,
    snapshot_of,
    transaction,
    watch_request,
)
from leeward.ports.quorum import (
    Change,
    CompactedError,
    Compare,
    Delete,
    Membership,
    Outcome,
    Put,
    QuorumUnavailableError,
    Snapshot,
    StoreReplacedError,
)

SILENCE_S = 4 * PROGRESS_S
"""A watch that is silent for so long is dead: members report progress every PROGRESS_S."""

RESUME_PAUSES_S = (0.0, 0.05, 0.1, 0.2)
"""Pauses before a broken watch tries again; the last repeats."""


class EtcdQuorum:
    """The quorum store as one region sees it. ``connect`` makes one."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._cluster: str | None = None
        """The identity of the cluster that the last snapshot was of."""

    async def snapshot(self, prefix: str, *, timeout_s: float) -> Snapshot:
        """Return a linearizable snapshot. Raises QuorumUnavailableError."""
        reply = await self._gateway.post("/v3/kv/range", prefix_range(prefix), timeout_s=timeout_s)
        self._cluster = header_of(reply).cluster
        return snapshot_of(reply)

    async def transact(
        self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...], *, timeout_s: float
    ) -> Outcome:
        """Apply all changes if all conditions hold, as one revision. QuorumUnavailableError: unknown.

        ValueError: a key appears twice among the changes.
        """
        body = transaction(compares, changes)
        return outcome_of(await self._gateway.post("/v3/kv/txn", body, timeout_s=timeout_s))

    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Change]:
        """Yield every revision after ``after`` that touches the prefix, in order, each exactly once.

        An empty change means that everything up to its revision has been delivered. It comes about every
        PROGRESS_S while the member is alive, and, when the member loses the majority, for up to three
        election timeouts more. Tries the members in turn for ever; raises only CompactedError, and
        StoreReplacedError when the members are of another cluster than the last snapshot, or of an older state.
        Read it in a task of its own: cancelling a read ends the watch.
        """
        seen = after
        failures = 0
        while True:
            endpoint = self._gateway.endpoints[failures % len(self._gateway.endpoints)]
            try:
                async with aclosing(self._watch_one(endpoint, prefix, seen)) as changes:
                    async for change in changes:
                        failures = 0
                        seen = change.revision
                        yield change
            except CompactedAtError as error:
                raise CompactedError(f"watch of {prefix!r} after revision {seen}: {error}") from error
            except (CanceledError, QuorumUnavailableError, aiohttp.ClientError, TimeoutError, OSError, ValueError):
                # Whatever broke, the answer is the same: go on after the last revision, elsewhere if possible.
                await asyncio.sleep(RESUME_PAUSES_S[min(failures, len(RESUME_PAUSES_S) - 1)])
            failures += 1

    async def _watch_one(self, endpoint: Endpoint, prefix: str, seen: int) -> AsyncGenerator[Change, None]:
        # From ``seen`` itself: if compaction has passed it, a deletion just after may be gone without a trace.
        body = watch_request(prefix, max(seen, 1))
        async with self._gateway.stream(endpoint, "/v3/watch", body, silence_s=SILENCE_S) as content:
            lines, fresh = Lines(), True
            while chunk := await content.readany():
                lines, whole = lines.feed(chunk)
                for line in whole:
                    created = created_of(line) if fresh else None
                    fresh = False
                    if created is not None:
                        await self._compare(created, prefix, seen)
                    for change in changes_of(line, seen):
                        seen = change.revision
                        yield change

    async def _compare(self, header: Header, prefix: str, seen: int) -> None:
        """Raise StoreReplacedError unless a member that was just reached goes on with the history seen so far.

        Members start again when their store is restored, so no watch lives through that. The answer carries the
        cluster's identity. A revision that is too old may only mean that this member lags behind: then the leader
        is asked.
        """
        if self._cluster is not None and header.cluster != self._cluster:
            raise StoreReplacedError(f"the store's cluster identity was {self._cluster} and is {header.cluster}")
        if header.revision < seen:
            reply = await self._gateway.post("/v3/kv/range", any_key(prefix), timeout_s=SILENCE_S)
            newest = header_of(reply).revision
            if newest < seen:
                raise StoreReplacedError(f"the store was at revision {seen} and is at {newest}")

    async def membership(self, *, timeout_s: float) -> Membership:
        """Return the members and who leads, as the local member sees it."""
        names, _, leader = await self._members(timeout_s)
        return Membership(tuple(sorted(names.values())), names.get(leader))

    async def move_leader(self, to: str, *, timeout_s: float) -> None:
        """Ask the local member to hand over leadership; nothing happens when it does not lead.

        ValueError: ``to`` is not a member.
        """
        names, local, leader = await self._members(timeout_s)
        target = next((member for member, name in names.items() if name == to), None)
        if target is None:
            raise ValueError(f"{to} is not a member; members are {', '.join(sorted(names.values()))}")
        if leader != local or target == local:
            return
        try:
            await self._gateway.post_to(
                self._gateway.endpoints[0],
                "/v3/maintenance/transfer-leadership",
                {"targetID": target},
                timeout_s=timeout_s,
            )
        except RequestRefusedError:
            # It lost leadership in between, or the target does not keep up. A request, with no promise.
            return

    async def _members(self, timeout_s: float) -> tuple[dict[str, str], str, str]:
        """Return names by member id, the local member's id and the leader's ("" without one)."""
        local = self._gateway.endpoints[0]
        try:
            async with asyncio.timeout(timeout_s):
                members, status = await asyncio.gather(
                    self._gateway.post_to(local, "/v3/cluster/member/list", {}, timeout_s=timeout_s),
                    self._gateway.post_to(local, "/v3/maintenance/status", {}, timeout_s=timeout_s),
                )
        except TimeoutError as error:
            raise QuorumUnavailableError(f"{local.url}: no answer within {timeout_s:g} s") from error
        # A member that was added and has not started yet has no name.
        names = {member["ID"]: member["name"] for member in members["members"] if member.get("name")}
        return names, status["header"]["member_id"], status.get("leader", "")


@asynccontextmanager
async def connect(endpoints: Sequence[Endpoint], identity_dir: Path) -> AsyncIterator[EtcdQuorum]:
    """Use the local member (the first endpoint) and, when it accepts no connection, the others.

    ``identity_dir`` holds ca.crt, tls.crt and tls.key; what is renewed there is used for new connections.
    """
    async with open_gateway(endpoints, identity_dir) as gateway:
        yield EtcdQuorum(gateway)
