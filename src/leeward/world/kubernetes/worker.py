"""The life of one pod: volumes, containers, status, end. It owns the pod's directory and its place in the store."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leeward.ports.cluster import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, KubeObject
from leeward.world.kubernetes import pods, probes, volumes
from leeward.world.kubernetes.container import Container, Plan
from leeward.world.kubernetes.environment import Engines, program_of
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.logs import log_path
from leeward.world.kubernetes.processes import Processes, Program
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.store import Store, now_text
from leeward.world.kubernetes.substitution import Substitution, fixed_address
from leeward.world.kubernetes.volumes import Directories, MissingError

GRACE_DEFAULT_S = 30
_REFERENCED = (CONFIG_MAPS, SECRETS, PERSISTENT_VOLUME_CLAIMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all pods of the region share."""

    name: str
    address: str
    store: Store
    recorder: Recorder
    processes: Processes
    prober: probes.Prober
    directories: Directories
    engines: Engines


class PodWorker:
    """Runs one pod until ``end`` is called."""

    def __init__(self, node: Node, pod: KubeObject, address: str) -> None:
        self.pod = pod
        self.address = address
        self._node = node
        self._first: list[Container] = []
        self._containers: list[Container] = []
        self._located: dict[str, Path] = {}
        self._substitute = Substitution({}, self._service_address)
        self._started_at = now_text()
        self._grace_s: float | None = None
        self._ending = asyncio.Event()
        self._keep_logs = False
        self._broken: str | None = None

    async def run(self) -> None:
        """Run until ``end`` is called, then remove everything but the claims."""
        living = asyncio.create_task(self._live(), name=f"pod {self.pod['metadata']['name']}")
        ending = asyncio.create_task(self._ending.wait(), name="stop requested")
        try:
            await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
            await ending
            grace_s = GRACE_DEFAULT_S if self._grace_s is None else self._grace_s
            await asyncio.gather(*(one.stop(grace_s) for one in [*self._first, *self._containers]))
        finally:
            for task in (living, ending):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._forget()

    def end(self, grace_s: float, *, keep_logs: bool = False) -> None:
        """Ask it to end within ``grace_s`` seconds; a later call with a shorter time shortens it."""
        if self._grace_s is not None and grace_s >= self._grace_s:
            return
        self._keep_logs = keep_logs
        if self._grace_s is None:
            self._node.recorder.normal(self.pod, "Killing", "Stopping the pod's containers")
        elif grace_s == 0:
            for one in [*self._first, *self._containers]:
                one.kill()
        self._grace_s = grace_s
        self._ending.set()

    def refresh(self) -> None:
        """Bring files from ConfigMaps and Secrets up to date."""
        with suppress(MissingError):  # What was deleted stays as it was mounted.
            volumes.fill(self._node.store, self.pod, self._located, self._substitute)

    def root_pids(self) -> list[int]:
        """Return the pids of the containers' main processes."""
        children = (one.child for one in self._containers)
        return [child.pid for child in children if child is not None and child.running]

    async def _live(self) -> None:
        try:
            await self._prepare()
            await self._run_containers()
        except* (AttributeError, KeyError, OSError, TypeError, ValueError) as errors:
            self._broken = f"the pod cannot be run: {errors.exceptions[0]!r}"
            self._node.recorder.warning(self.pod, "InvalidPod", self._broken)
            self._publish()

    async def _prepare(self) -> None:
        spec, node = self.pod["spec"], self._node
        period = pods.annotation(self.pod, pods.PROBE_PERIOD_S)
        period_s = None if period is None else float(period)
        always = spec.get("restartPolicy", "Always")
        for container in spec.get("initContainers") or ():
            policy = container.get("restartPolicy") or ("Never" if always == "Never" else "OnFailure")
            self._first.append(self._container(container, policy, period_s))
        for container in spec["containers"]:
            self._containers.append(self._container(container, always, period_s))
        self._publish()
        node.directories.pod(self.pod).mkdir(mode=volumes.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        while True:
            seen = node.store.version
            try:
                self._located = volumes.locate(node.directories, self.pod)
                mounts: dict[str, Path] = {}
                for container in reversed([*spec["containers"], *(spec.get("initContainers") or ())]):
                    mounts.update(volumes.mounts_of(container, self._located))
                self._substitute = Substitution(mounts, self._service_address)
                volumes.fill(node.store, self.pod, self._located, self._substitute)
                return
            except MissingError as error:
                for one in [*self._first, *self._containers]:
                    one.wait_for(error.reason, str(error))
                await _news(node.store, seen)

    async def _run_containers(self) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self._first:
                if one.plan.restart_policy == "Always":
                    group.create_task(one.run())
                    continue
                await one.run()
                if one.exit_code != 0:
                    return
            for one in self._containers:
                group.create_task(one.run())

    def _container(self, spec: KubeObject, policy: str, period_s: float | None) -> Container:
        node, metadata = self._node, self.pod["metadata"]

        def probe(kind: str) -> probes.Probe | None:
            # Readiness only: a liveness probe that often would end programs that are still starting.
            often_s = period_s if kind == "readinessProbe" else None
            return probes.parse(spec[kind], spec, self.address, often_s) if spec.get(kind) else None

        plan = Plan(
            spec=spec,
            restart_policy=policy,
            grace_s=float(self.pod["spec"].get("terminationGracePeriodSeconds", GRACE_DEFAULT_S)),
            log=log_path(node.directories.logs, metadata["namespace"], metadata["name"], spec["name"]),
            startup=probe("startupProbe"),
            readiness=probe("readinessProbe"),
            liveness=probe("livenessProbe"),
        )

        async def program(restarts: int) -> Program:
            while True:
                seen = node.store.version
                try:
                    return self._program(spec, f"{metadata['uid']}.{spec['name']}.{restarts}")
                except MissingError as error:
                    container.wait_for(error.reason, str(error))
                    await _news(node.store, seen)

        container = Container(
            plan,
            processes=node.processes,
            prober=node.prober,
            program=program,
            record_event=self._record_event,
            changed=self._publish,
        )
        return container

    def _program(self, spec: KubeObject, identity: str) -> Program:
        node = self._node
        # Mount paths are each container's own; service names are everybody's.
        substitute = Substitution(volumes.mounts_of(spec, self._located), self._service_address)
        program = program_of(
            node.store,
            node.store.find(PODS, self.pod["metadata"]["namespace"], self.pod["metadata"]["name"]) or self.pod,
            spec,
            directory=node.directories.pod(self.pod),
            engines=node.engines,
            substitute=substitute,
            identity=identity,
        )
        for name in sorted(substitute.unresolved):
            self._record_event(
                "ServiceWithoutAddress", f"{name} left unchanged: it selects no pod with a fixed address", True
            )
        return program

    def _service_address(self, pod: str, service: str, namespace: str) -> str | None:
        return fixed_address(self._node.store, pod, service, namespace)

    def _record_event(self, reason: str, message: str, warning: bool) -> None:
        record = self._node.recorder.warning if warning else self._node.recorder.normal
        record(self.pod, reason, message)

    def _publish(self) -> None:
        """Write the pod's status as it is now."""
        self._node.store.edit(PODS, self.pod, lambda edited: edited.update(status=self._status(edited)))

    def _status(self, present: KubeObject) -> KubeObject:
        before, now = present.get("status", {}), now_text()
        ready = bool(self._containers) and all(one.ready for one in self._containers)
        initialized = all(one.exit_code == 0 or one.plan.restart_policy == "Always" for one in self._first)
        reason = "PodReady" if ready else "ContainersNotReady"
        status: KubeObject = {
            "phase": self._phase(),
            "conditions": [
                pods.condition(before, "PodScheduled", holds=True, reason="Scheduled", now=now),
                pods.condition(before, "Initialized", holds=initialized, reason="PodInitialized", now=now),
                pods.condition(before, "ContainersReady", holds=ready, reason=reason, now=now),
                pods.condition(before, "Ready", holds=ready, reason=reason, now=now),
            ],
            "hostIP": self._node.address,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._started_at,
            "containerStatuses": [one.status() for one in self._containers],
        }
        if self._first:
            status["initContainerStatuses"] = [one.status() for one in self._first]
        if self._broken is not None:
            status["message"] = self._broken
        return status

    def _phase(self) -> str:
        codes = [one.exit_code for one in self._containers]
        failed_first = any(one.exit_code not in (None, 0) for one in self._first)
        if self._broken is not None or failed_first or (codes and None not in codes and any(codes)):
            return "Failed"
        if codes and None not in codes:
            return "Succeeded"
        begun = codes and all(one.child is not None or one.restarts for one in self._containers)
        return "Running" if begun else "Pending"

    def _forget(self) -> None:
        node, metadata = self._node, self.pod["metadata"]
        shutil.rmtree(node.directories.pod(self.pod), ignore_errors=True)
        if not self._keep_logs:
            logs = node.directories.logs / metadata["namespace"] / metadata["name"]
            shutil.rmtree(logs, ignore_errors=True)
        node.store.remove(PODS, self.pod)


async def _news(store: Store, after: int) -> None:
    """Return when something that a pod may wait for has changed since version ``after``."""
    while True:
        await store.wait(after)
        try:
            changes = store.changes_after(after)
        except ApiError:
            return  # More happened than the history holds.
        if any(change.resource in _REFERENCED for change in changes):
            return
        after = changes[-1].version
