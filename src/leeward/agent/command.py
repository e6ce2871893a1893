"""Wire the adapters to the machine, and run one agent until SIGTERM."""

import argparse
import asyncio
import contextlib
import secrets
import signal
import ssl
import sys
from pathlib import Path

import aiohttp
import structlog
import uvloop
from aiohttp import web

from leeward.adapters.envoy.gateway import EnvoyGateway
from leeward.adapters.envoy.settings import of_agent
from leeward.adapters.etcd.gateway import Endpoint
from leeward.adapters.etcd.quorum import connect
from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.adapters.postgres.client import InstanceManager
from leeward.agent.api import application
from leeward.agent.conditions import Conditions
from leeward.agent.deep import DeepHealths
from leeward.agent.exporting import Exporting
from leeward.agent.machine import Machine
from leeward.agent.naming import Naming
from leeward.agent.peers import HttpPeers
from leeward.agent.pods import ClusterPods
from leeward.agent.runtime import Runtime
from leeward.core.codec import decode
from leeward.core.settings import AgentSettings
from leeward.ports.clock import SystemClock

log = structlog.get_logger()


def main() -> None:
    """Run one agent."""
    parser = argparse.ArgumentParser(prog="leeward-agent", description="The agent of one region.")
    parser.add_argument("--config", type=Path, required=True, help="the agent's settings, one JSON document")
    arguments = parser.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    settings = decode(AgentSettings, arguments.config.read_bytes())
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    identity = Path(settings.identity_dir)
    clock = SystemClock()
    machine = Machine(settings, incarnation=secrets.token_hex(4))
    async with contextlib.AsyncExitStack() as stack:
        quorum = await stack.enter_async_context(connect([Endpoint(settings.quorum_url, settings.region)], identity))
        cluster = await stack.enter_async_context(
            KubernetesCluster(
                Connection(
                    url=settings.cluster_url,
                    ca_file=identity / "ca.crt",
                    token_file=Path(settings.cluster_token_file),
                    server_name=settings.region,
                )
            )
        )
        peers = await stack.enter_async_context(HttpPeers(settings.region, settings.regions, _client_tls(identity)))
        databases = {
            app.name: await stack.enter_async_context(InstanceManager(app.instance_url, identity, settings.region))
            for app in settings.apps
            if app.instance_url is not None
        }
        session = await stack.enter_async_context(aiohttp.ClientSession())
        runtime = Runtime(
            machine,
            clock=clock,
            quorum=quorum,
            databases=databases,
            gateway=EnvoyGateway(of_agent(settings), session),
            peers=peers,
            pods=ClusterPods(cluster, {app.name: app.namespace for app in settings.apps}),
        )
        naming = None if settings.dns is None else Naming(settings.dns, machine, clock)
        exporting = (
            None
            if settings.exports_in is None
            else Exporting(machine, runtime, clock, cluster, quorum, settings.exports_in)
        )
        conditions, deep = Conditions(machine, clock), DeepHealths(settings.apps, machine.apps, session, clock)
        runner = web.AppRunner(application(runtime, peers, conditions, deep, naming), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, settings.listen_host, settings.listen_port, ssl_context=_server_tls(identity))
        await site.start()
        log.info("agent started", region=settings.region, fleet=settings.fleet, incarnation=machine.incarnation)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.run(), name="runtime")
            tasks.create_task(conditions.run(), name="conditions")
            tasks.create_task(deep.run(), name="deep health")
            if naming is not None:
                tasks.create_task(naming.run(), name="naming")
            if exporting is not None:
                tasks.create_task(exporting.run(), name="exporting")


def _client_tls(identity: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(identity / "ca.crt"))
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    return context


def _server_tls(identity: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(identity / "ca.crt"))
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context
