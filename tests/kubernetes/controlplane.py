"""A real control plane on loopback: etcd and the API server, for as long as a block runs.

Without controllers and nodes: objects are admitted, defaulted, stored and watched, and nothing acts on them. Both
processes end with the block, and with the process that started them, even when that is killed.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.kubernetes.client import Connection
from leeward.kit.kernel import die_with_parent
from tests.kit.certificates import Authority
from tests.kit.waiting import block_until
from tests.kubernetes.api import Api
from tests.kubernetes.programs import API_SERVER, program

READY_S = 110.0
"""Usually five seconds; a busy machine takes its time."""
STOP_S = 10.0
SERVER_NAME = "kubernetes"
ADMINISTRATORS = "system:masters"
TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where it is and how to get in, as an administrator."""

    directory: Path
    port: int

    @property
    def connection(self) -> Connection:
        """With a client certificate."""
        identity = self.directory / "administrator"
        return Connection(
            url=f"https://127.0.0.1:{self.port}",
            ca_file=identity / "ca.crt",
            certificate_file=identity / "tls.crt",
            key_file=identity / "tls.key",
            server_name=SERVER_NAME,
        )

    @property
    def token_connection(self) -> Connection:
        """With a bearer token, as pods have one."""
        return Connection(
            url=f"https://127.0.0.1:{self.port}",
            ca_file=self.directory / "administrator" / "ca.crt",
            token_file=self.directory / "token",
            server_name=SERVER_NAME,
        )


@contextmanager
def control_plane(directory: Path) -> Iterator[ControlPlane]:
    """Run a control plane in a new directory; yield it once it is ready. Raises AssertionError with the log's end."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority()
    authority.issue(SERVER_NAME, directory / "server")
    authority.issue("administrator", directory / "administrator", organization=ADMINISTRATORS)
    (directory / "token").write_text(TOKEN)
    (directory / "tokens.csv").write_text(f'{TOKEN},tests,tests,"{ADMINISTRATORS}"\n')
    etcd_port, peer_port, port = _free_ports(3)
    plane = ControlPlane(directory, port)
    with ExitStack() as stack:
        etcd = stack.enter_context(_running(directory, "etcd", _etcd_arguments(directory, etcd_port, peer_port)))
        arguments = _api_server_arguments(directory, port, etcd_port)
        server = stack.enter_context(_running(directory, API_SERVER, arguments))
        _wait_until_ready(plane, (etcd, server))
        yield plane


def _etcd_arguments(directory: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # nothing here outlives the test
        "--log-level=warn",
    ]


def _api_server_arguments(directory: Path, port: int, etcd_port: int) -> list[str]:
    server, client = directory / "server", directory / "administrator"
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory}",
        f"--tls-cert-file={server / 'tls.crt'}",
        f"--tls-private-key-file={server / 'tls.key'}",
        f"--client-ca-file={client / 'ca.crt'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        f"--service-account-key-file={server / 'tls.crt'}",
        f"--service-account-signing-key-file={server / 'tls.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--authorization-mode=RBAC",
        # Nobody here makes service accounts' tokens, and no loopback address may be an endpoint.
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--profiling=false",
    ]


@contextmanager
def _running(directory: Path, name: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of the control plane; end it with the block."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program(name)), *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(plane: ControlPlane, processes: tuple[subprocess.Popen[bytes], ...]) -> None:
    def answer() -> tuple[int, str]:
        for process in processes:
            assert process.poll() is None, f"{process.args!r} ended: {_log_ends(plane.directory)}"
        return api.ask("/readyz")

    with Api(plane.connection) as api:
        block_until(
            answer,
            lambda: f"ready; {_log_ends(plane.directory)}",
            accept=lambda found: found[0] == 200,
            within_s=READY_S,
            every_s=0.05,
            not_yet=(OSError,),
        )


def _log_ends(directory: Path) -> str:
    return "\n".join(f"{log.name}: ...{log.read_text('utf-8')[-2000:]}" for log in directory.glob("*.log"))


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, below the range the kernel deals from."""
    ports: list[int] = []
    for port in range(20_000 + os.getpid() * 7 % 10_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports")
