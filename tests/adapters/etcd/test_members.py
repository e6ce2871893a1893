from pathlib import Path

import pytest

from leeward.adapters.etcd.gateway import Endpoint
from leeward.adapters.etcd.members import readd_member
from leeward.adapters.etcd.quorum import connect
from leeward.ports.quorum import Put, QuorumUnavailableError
from tests.adapters.etcd.cluster import cluster
from tests.kit.certificates import Authority

NAMES = ("ap", "eu", "us")

pytestmark = pytest.mark.engine


async def test_a_member_that_lost_its_data_is_added_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES) as members:
        async with members.connect("us") as quorum:
            await quorum.transact((), (Put("k", "kept"),), timeout_s=20)
        await members.lose_data("eu")
        await members.rejoin("eu")
        await members.ready("eu")
        async with members.connect("eu") as quorum:
            assert (await quorum.snapshot("k", timeout_s=20)).entries["k"].value == "kept"
            assert (await quorum.membership(timeout_s=20)).members == NAMES


async def test_adding_again_may_be_repeated(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES) as members:
        await members.lose_data("eu")
        survivors = [members.endpoint("ap"), members.endpoint("us")]
        identity, url = members.identities["eu"], members.peer_url("eu")
        first = await readd_member(survivors, identity, name="eu", peer_url=url, timeout_s=60)
        second = await readd_member(survivors, identity, name="eu", peer_url=url, timeout_s=60)
        assert first == second == {name: members.peer_url(name) for name in NAMES}


async def test_a_stranger_is_turned_away(tmp_path: Path) -> None:
    async with cluster(tmp_path / "fleet", NAMES[:1]) as members:
        stranger = Authority().issue("ap", tmp_path / "stranger")
        # It trusts the member, but the member does not know who signed the stranger's certificate.
        (stranger / "ca.crt").write_bytes((members.identities["ap"] / "ca.crt").read_bytes())
        async with connect([members.endpoint("ap")], stranger) as quorum:
            with pytest.raises(QuorumUnavailableError):
                await quorum.snapshot("", timeout_s=20)


async def test_a_member_of_another_name_is_not_believed(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES[:1]) as members:
        endpoint = Endpoint(members.endpoint("ap").url, server_name="eu")
        async with connect([endpoint], members.identities["ap"]) as quorum:
            with pytest.raises(QuorumUnavailableError, match="no connection"):
                await quorum.snapshot("", timeout_s=20)
