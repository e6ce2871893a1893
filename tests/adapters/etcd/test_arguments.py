from itertools import pairwise

import pytest

from leeward.adapters.etcd.arguments import command, election
from leeward.compile.target import QuorumMember

PEERS = {"us": "https://127.10.1.3:2380", "eu": "https://127.10.2.3:2380", "ap": "https://127.10.3.3:2380"}


def flags(name: str = "us", *, joining: bool = False) -> dict[str, str]:
    member = QuorumMember(
        region=name,
        data_dir="/data",
        identity_dir="/identity",
        listen_host="127.10.1.3",
        client_url="https://127.10.1.3:2379",
        peer_urls=PEERS,
        fleet="shop",
        rtt_max_s=0.2,
    )
    return dict(argument.removeprefix("--").split("=", 1) for argument in command(member, joining=joining)[1:])


def test_clients_and_members_need_certificates_of_authorities_of_their_own() -> None:
    given = flags()
    assert (given["client-cert-auth"], given["peer-client-cert-auth"]) == ("true", "true")
    assert (given["trusted-ca-file"], given["peer-trusted-ca-file"]) == ("/identity/ca.crt", "/identity/peer-ca.crt")
    assert (given["cert-file"], given["peer-cert-file"]) == ("/identity/tls.crt", "/identity/peer.crt")
    assert (given["key-file"], given["peer-key-file"]) == ("/identity/tls.key", "/identity/peer.key")
    plain = [name for name, value in given.items() if name.endswith("-urls") and not value.startswith("https://")]
    assert plain == ["listen-metrics-urls"], "no key can be read there"


def test_a_member_that_lost_its_data_joins_instead_of_founding() -> None:
    assert flags()["initial-cluster-state"] == "new"
    assert flags(joining=True)["initial-cluster-state"] == "existing"


def test_members_agree_on_the_cluster() -> None:
    assert {flags(name)["initial-cluster"] for name in PEERS} == {",".join(f"{n}={url}" for n, url in PEERS.items())}


def test_the_first_region_campaigns_last() -> None:
    assert [flags(name)["election-timeout"] for name in PEERS] == ["600", "500", "400"]
    assert {flags(name)["heartbeat-interval"] for name in PEERS} == {"50"}


@pytest.mark.parametrize("max_rtt_s", [0.0, 0.001, 0.08, 0.2, 0.35, 1.0])
@pytest.mark.parametrize("members", [1, 3, 5, 7])
def test_etcd_accepts_the_timers_and_no_two_ranks_are_alike(max_rtt_s: float, members: int) -> None:
    timers = [election(max_rtt_s, rank, members) for rank in range(members)]
    assert len({timer.heartbeat_s for timer in timers}) == 1
    assert all(5 * timer.heartbeat_s <= timer.timeout_s <= 50 for timer in timers)
    # etcd counts in whole heartbeats: ranks must differ by one at least, up to five members.
    ticks = [int(timer.timeout_s / timer.heartbeat_s + 1e-9) for timer in timers]
    assert ticks == sorted(ticks)
    assert members > 5 or all(earlier < later for earlier, later in pairwise(ticks))


@pytest.mark.parametrize("max_rtt_s", [0.0, 0.08, 0.2, 0.35, 1.0])
def test_an_undisputed_election_ends_within_a_lease(max_rtt_s: float) -> None:
    slowest_s = max(2 * election(max_rtt_s, rank, 3).timeout_s for rank in (0, 1)) + 3 * max_rtt_s
    assert slowest_s <= max(2.0, 8 * max_rtt_s) + 1e-9
