"""Every package is one version, and every file of it that may be installed is known by its hash."""

import pytest

from tests.supply.locks import DEVELOPMENT, HASH, LOCKS, RUNTIME, entries, pins


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_one_version_with_hashes(lock: str) -> None:
    assert pins(lock)
    assert [entry for entry in entries(lock) if not HASH.search(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_takes_packages_from_anywhere_else(lock: str) -> None:
    options = [entry for entry in entries(lock) if entry.startswith("-") or "://" in entry or " @ " in entry]
    assert options == []


def test_developers_have_what_runs_and_in_the_same_versions() -> None:
    assert pins(RUNTIME).items() <= pins(DEVELOPMENT).items()
