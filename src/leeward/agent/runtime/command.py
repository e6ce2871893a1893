"""Wire the adapters to the machine, and run one agent until SIGTERM."""

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
from pathlib import Path

import aiohttp
import structlog
import uvloop

from leeward.adapters.dns.threaded import ThreadedDnsServer
from leeward.adapters.envoy.gateway import EnvoyGateway, administration
from leeward.adapters.envoy.settings import of_agent
from leeward.adapters.etcd.gateway import Endpoint
from leeward.adapters.etcd.maintenance import maintain
from leeward.adapters.etcd.quorum import connect
from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.adapters.postgres import InstanceManager
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime import identities
from leeward.agent.runtime.api import application
from leeward.agent.runtime.authorization import Verifier
from leeward.agent.runtime.peers import HttpPeers
from leeward.agent.runtime.pods import ClusterPods
from leeward.agent.runtime.restarting import keep_running
from leeward.agent.runtime.runtime import Runtime
from leeward.agent.runtime.supervision import keep
from leeward.agent.services.certificates import Certificates
from leeward.agent.services.certificates import of_agent as of_region
from leeward.agent.services.conditions import Conditions
from leeward.agent.services.deep_health import DeepHealths
from leeward.agent.services.dns import Naming
from leeward.agent.services.exports import Exporting
from leeward.agent.services.store_keeper import StoreKeeper
from leeward.core.codec import DecodeError, decode
from leeward.core.identities import CA
from leeward.core.settings import AgentSettings
from leeward.kit import logs
from leeward.kit.http import tls
from leeward.kit.http.refusals import Refusals
from leeward.kit.http.serving import HttpServer
from leeward.ports.clock import SystemClock

log = structlog.get_logger()


def main() -> None:
    """Run one agent, restart it when it crashes, and exit with its status after SIGTERM."""
    parser = argparse.ArgumentParser(prog="leeward-agent", description="The agent of one region.")
    parser.add_argument("--config", type=Path, required=True, help="the agent's settings, one JSON document")
    arguments = parser.parse_args()
    logs.configure("agent")
    sys.exit(keep_running(lambda: _start(arguments.config), SystemClock(), ThreadedDnsServer.load))


def _start(config: Path) -> None:
    try:
        settings = decode(AgentSettings, config.read_bytes())
        identities.check(Path(settings.identity_dir), Path(settings.store_identity_dir))
    except (DecodeError, identities.SharedAuthorityError, OSError, ValueError) as error:
        log.error("cannot start", config=str(config), because=str(error))
        sys.exit(2)
    logs.configure("agent", region=settings.region)
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    identity, store_identity = Path(settings.identity_dir), Path(settings.store_identity_dir)
    clock = SystemClock()
    machine = Machine(settings, incarnation=secrets.token_hex(4))
    local = Endpoint(settings.quorum_url, settings.region)
    async with contextlib.AsyncExitStack() as stack:
        quorum = await stack.enter_async_context(connect([local], store_identity))
        token_file = Path(settings.cluster_token_file)
        cluster = await stack.enter_async_context(
            KubernetesCluster(
                Connection(url=settings.cluster_url, ca_file=token_file.with_name(CA), token_file=token_file)
            )
        )
        peers = await stack.enter_async_context(HttpPeers(settings.region, settings.regions, tls.client(identity)))
        databases = {
            app.name: await stack.enter_async_context(
                InstanceManager(app.instance_url, identity, app.name, settings.region)
            )
            for app in settings.apps
            if app.instance_url is not None
        }
        gateway = of_agent(settings)
        admin = await stack.enter_async_context(administration(gateway))
        # Slow answers of pods must not hold up one another.
        pods = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        runtime = Runtime(
            machine,
            clock=clock,
            quorum=quorum,
            databases=databases,
            gateway=EnvoyGateway(gateway, admin),
            peers=peers,
            pods=ClusterPods(cluster, {app.name: app.namespace for app in settings.apps}),
        )
        naming = None if settings.dns is None else Naming(settings.dns, machine, clock, runtime.changes)
        exporting = (
            None
            if settings.exports_in is None
            else Exporting(machine, runtime, clock, cluster, quorum, settings.exports_in)
        )
        others = tuple(region.name for region in settings.regions if region.name != settings.region)
        certificates = Certificates(*of_region(settings), settings.region, others, peers)
        conditions = Conditions(machine, clock, runtime.changes, certificates.known)
        deep = DeepHealths(settings.apps, machine.apps, pods, clock, runtime.changes)
        keeper = None
        if settings.store is not None:
            member = await stack.enter_async_context(maintain(local, store_identity, Path(settings.store.backup_dir)))
            keeper = StoreKeeper(
                settings.store,
                settings.region,
                others,
                member=member,
                peers=peers,
                clock=clock,
                post=runtime.post,
            )
        verifier, refusals = Verifier(settings.fleet, identity / CA), Refusals("agent")
        app = application(runtime, peers, conditions, deep, verifier, refusals, naming, keeper, certificates, databases)
        host, port = settings.listen_host, settings.listen_port
        await stack.enter_async_context(HttpServer(app, host, port, tls.server(identity), refusals))
        log.info("agent started", region=settings.region, fleet=settings.fleet, incarnation=machine.incarnation)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.run(), name="runtime")
            if naming is not None:
                tasks.create_task(keep("naming", naming.run), name="naming")
            await runtime.heard()
            tasks.create_task(keep("conditions", conditions.run), name="conditions")
            tasks.create_task(keep("deep health", deep.run), name="deep health")
            tasks.create_task(keep("certificates", certificates.run), name="certificates")
            if keeper is not None:
                tasks.create_task(keep("maintain the store", keeper.run), name="maintain the store")
            if exporting is not None:
                tasks.create_task(keep("exporting", exporting.run), name="exporting")
