"""A world as it was written at START. No process runs."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from leeward.core.identities import CERTIFICATE, KEY
from leeward.world import identity, manifests
from leeward.world.authority import BOTH, Authority
from leeward.world.model import WorldConfig
from leeward.world.removal import remove
from tests.world.support import config

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NAMES = [x509.DNSName("eu"), x509.UniformResourceIdentifier("spiffe://shop/region/eu")]


@contextmanager
def written(home: Path) -> Iterator[WorldConfig]:
    """A world as it was written at START, with an identity of an instance manager and a Secret of the user's."""
    bare = config("renewed")
    regions = tuple(
        replace(each, manifests=str(home / "renewed/regions" / each.name / "manifests")) for each in bare.regions
    )
    built = replace(bare, regions=regions)
    made = identity.create(built.fleet, {region.name: region.index for region in regions}, START)
    identity.write(made, built)
    theirs = Authority.create("the user's own", START).issue("shop", NAMES, BOTH)
    for region in regions:
        Path(region.manifests).mkdir(parents=True)
        own = made.regions[region.name]
        secrets = {
            "leeward-agent": own.agent,
            "leeward-store-member": own.store_member,
            "shop-identity": made.instance("shop", region.name, START),
            "shop-tls": {CERTIFICATE: theirs.certificate, KEY: theirs.key},
        }
        objects = [{"kind": "Namespace", "metadata": {"name": "shop"}}]
        objects += [
            {"kind": "Secret", "metadata": {"name": name}, "stringData": dict(files)} for name, files in secrets.items()
        ]
        manifests.write(region, objects)
    try:
        yield built
    finally:
        remove(built.directory)


def secrets_of(world: WorldConfig, region: str) -> dict[str, dict[str, str]]:
    items = manifests.read(world.region(region))
    return {item["metadata"]["name"]: item["stringData"] for item in items if item["kind"] == "Secret"}
