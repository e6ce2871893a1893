"""How compiled objects start etcd and Envoy: the adapters' pure functions, handed to ``compile``.

``compile`` may not import adapters, and adapters are strangers to one another; here the two meet.
"""

import json
from pathlib import Path

from leeward.adapters.envoy.bootstrap import bootstrap, command
from leeward.adapters.envoy.settings import of_agent
from leeward.adapters.etcd.arguments import Member, arguments
from leeward.compile import Engines, GatewayStart, QuorumMember
from leeward.compile.target import GATEWAY_BOOTSTRAP_DIR
from leeward.core.settings import AgentSettings

BOOTSTRAP_FILE = "envoy.json"


def engines(*, etcd: str = "etcd", envoy: str = "envoy") -> Engines:
    """Return the functions; the programs are names on the pods' PATH, or paths."""

    def quorum(member: QuorumMember) -> tuple[str, ...]:
        return (etcd, *arguments(_member(member)))

    def gateway(settings: AgentSettings) -> GatewayStart:
        told = of_agent(settings)
        return GatewayStart(
            files={BOOTSTRAP_FILE: json.dumps(bootstrap(told), indent=2)},
            command=command(told, f"{GATEWAY_BOOTSTRAP_DIR}/{BOOTSTRAP_FILE}", envoy=envoy),
        )

    return Engines(quorum=quorum, gateway=gateway)


def _member(member: QuorumMember) -> Member:
    return Member(
        name=member.region,
        data_dir=Path(member.data_dir),
        identity_dir=Path(member.identity_dir),
        listen_host=member.listen_host,
        client_url=member.client_url,
        peers=member.peer_urls,
        cluster_token=member.fleet,
        max_rtt_s=member.rtt_max_s,
    )
