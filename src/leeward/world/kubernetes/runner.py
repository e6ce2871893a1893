"""The region's node: every pod in the store gets a worker and an address, and is ended gracefully."""

import asyncio
from collections.abc import Iterable

from leeward.kit.loops import repeat
from leeward.ports.cluster import CONFIG_MAPS, NAMESPACES, PODS, SECRETS, KubeObject
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.logs import rotate
from leeward.world.kubernetes.pods import POD_ADDRESS, annotation, is_ending
from leeward.world.kubernetes.worker import GRACE_DEFAULT_S, Node, PodWorker

ADDRESS_FIRST, ADDRESS_LAST = 10, 254
ROTATE_EVERY_S = 10.0


class Addresses:
    """Pod addresses of region I: 127.10.I.10 and up, each used again as late as possible."""

    def __init__(self, index: int) -> None:
        self._all = [f"127.10.{index}.{number}" for number in range(ADDRESS_FIRST, ADDRESS_LAST + 1)]
        self._next = 0

    def take(self, taken: Iterable[str]) -> str | None:
        """Return the next free address, or None when all are in use."""
        used = set(taken)
        for _ in self._all:
            address = self._all[self._next]
            self._next = (self._next + 1) % len(self._all)
            if address not in used:
                return address
        return None


class PodRunner:
    """Runs the pods of the store as processes."""

    def __init__(self, node: Node, index: int) -> None:
        self._node = node
        self._store = node.store
        self._addresses = Addresses(index)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the store until cancelled. The pods go on; ``end_all`` ends them."""
        while True:
            seen = self._store.version
            self._follow()
            await self._store.wait(seen)
            if self._files_changed(seen):
                for worker in self._workers.values():
                    worker.refresh()
            for task in [task for task in self._tasks.values() if task.done()]:
                task.result()  # A worker that failed is a bug of ours: it must be noticed.
            await asyncio.sleep(0)

    async def rotate_logs(self) -> None:
        """Keep logs small, until cancelled."""

        def look() -> None:
            for path in self._node.directories.logs.glob("*/*/*.log"):
                rotate(path)

        await asyncio.sleep(ROTATE_EVERY_S)
        await repeat("rotate logs", look, every_s=ROTATE_EVERY_S)

    async def end_all(self, within_s: float) -> None:
        """End every pod: the latest namespace first, in each the stateless before the stateful."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        for namespace in reversed([item["metadata"]["name"] for item in self._store.list(NAMESPACES)]):
            here = [uid for uid, worker in self._workers.items() if worker.pod["metadata"]["namespace"] == namespace]
            stateful = [uid for uid in here if _is_stateful(self._workers[uid].pod)]
            for wave in ([uid for uid in here if uid not in stateful], stateful):
                workers = [self._workers[uid] for uid in wave]
                tasks = [self._tasks[uid] for uid in wave]
                left_s = max(0.0, deadline_s - asyncio.get_running_loop().time())
                for worker in workers:
                    worker.end(min(_grace_s(worker.pod), left_s), keep_logs=True)
                if tasks:
                    await asyncio.wait(tasks, timeout=left_s)
                for worker in workers:
                    worker.end(0, keep_logs=True)
                await asyncio.gather(*tasks)

    def root_pids(self, pod: KubeObject) -> list[int]:
        """Return the pids of a pod's containers."""
        worker = self._workers.get(pod["metadata"]["uid"])
        return [] if worker is None else worker.root_pids()

    def _follow(self) -> None:
        for pod in self._store.list(PODS):
            uid = pod["metadata"]["uid"]
            worker = self._workers.get(uid)
            if worker is not None:
                if is_ending(pod):
                    worker.end(_grace_s(pod))
            elif is_ending(pod):
                self._store.remove(PODS, pod)
            else:
                self._adopt(pod)

    def _adopt(self, pod: KubeObject) -> None:
        node, uid = self._node, pod["metadata"]["uid"]
        address = annotation(pod, POD_ADDRESS) or self._addresses.take(
            worker.address for worker in self._workers.values()
        )
        if address is None:
            node.recorder.warning(pod, "FailedScheduling", "the region has no free pod address")
            return

        def place(edited: KubeObject) -> None:
            edited["spec"]["nodeName"] = node.name
            edited["status"] = {"phase": "Pending", "podIP": address, "podIPs": [{"ip": address}]}

        placed = self._store.edit(PODS, pod, place)
        assert placed is not None, "nothing runs between listing and editing"
        node.recorder.normal(placed, "Scheduled", f"Assigned to {node.name} at {address}")
        worker = self._workers[uid] = PodWorker(node, placed, address)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"worker of {pod['metadata']['name']}")
        task.add_done_callback(lambda _: self._part(uid))

    def _part(self, uid: str) -> None:
        del self._workers[uid]
        if self._tasks[uid].cancelled() or self._tasks[uid].exception() is None:
            del self._tasks[uid]

    def _files_changed(self, seen: int) -> bool:
        try:
            changes = self._store.changes_after(seen)
        except ApiError:
            return True  # More happened than the history holds.
        return any(change.resource in (CONFIG_MAPS, SECRETS) for change in changes)


def _grace_s(pod: KubeObject) -> float:
    held = pod["metadata"].get("deletionGracePeriodSeconds")
    if held is None:
        held = pod["spec"].get("terminationGracePeriodSeconds", GRACE_DEFAULT_S)
    return float(held)


def _is_stateful(pod: KubeObject) -> bool:
    references = pod["metadata"].get("ownerReferences") or ()
    return any(reference["kind"] == "StatefulSet" for reference in references)
