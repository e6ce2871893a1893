"""What an agent refuses to start with: one authority for the fleet and for the quorum store."""

from pathlib import Path

import pytest

from leeward.agent.runtime.identities import SharedAuthorityError, check
from leeward.core.identities import CA
from leeward.world import identity


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    region = identity.create("shop", {"us": 1}).regions["us"]
    fleet, store = tmp_path / "identity", tmp_path / "store-identity"
    identity.put(fleet, region.agent)
    identity.put(store, region.store_client)
    return fleet, store


def test_an_authority_for_each_purpose_is_accepted(folders: tuple[Path, Path]) -> None:
    check(*folders)


@pytest.mark.parametrize("added", [False, True], ids=["the only one", "one of several"])
def test_the_fleets_authority_may_not_be_the_stores(folders: tuple[Path, Path], added: bool) -> None:
    fleet, store = folders
    own = (store / CA).read_text() if added else ""
    (store / CA).write_text(own + (fleet / CA).read_text())
    with pytest.raises(SharedAuthorityError, match="by purpose"):
        check(fleet, store)


def test_files_of_an_earlier_version_are_missed_by_name(folders: tuple[Path, Path]) -> None:
    fleet, store = folders
    (store / CA).unlink()
    with pytest.raises(FileNotFoundError, match="store-identity"):
        check(fleet, store)
