"""Renew the certificates of a running world when half of their life is left.

Level-triggered: each look reads what is there, and replaces what is due. It only writes files: a region that runs
takes changed Secrets in by itself, one that is lost starts with them. So nothing here needs TLS, which may be what
has expired on a machine that slept for long.

Always true: a certificate keeps its names, usages and authority. Each gets a new key, except for the operator's: no
command must find one of its two files exchanged without the other.
"""

import asyncio
import datetime
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from leeward.core.identities import CERTIFICATE, KEY, PEER_CERTIFICATE, PEER_KEY
from leeward.ports.cluster import KubeObject
from leeward.world import identity, manifests
from leeward.world.authority import Authority, KeyPair, is_due
from leeward.world.identity import AUTHORITIES, PURPOSES, Files
from leeward.world.model import WorldConfig

LOOK_EVERY_S = 10.0
"""Time asleep does not count: after a machine resumes, certificates that expired are renewed within this time."""
LOOKS_PER_LIFE = 30
PAIRS = ((CERTIFICATE, KEY), (PEER_CERTIFICATE, PEER_KEY))

log = logging.getLogger(__name__)


class Renewal:
    """Renews the certificates of one world."""

    def __init__(self, config: WorldConfig) -> None:
        self._config = config
        self._valid = datetime.timedelta(seconds=config.certificates_s)

    async def run(self) -> None:
        """Check periodically, until cancelled."""
        every_s = min(LOOK_EVERY_S, self._config.certificates_s / LOOKS_PER_LIFE)
        while True:
            try:
                renewed = self.look(datetime.datetime.now(datetime.UTC))
            except BlockingIOError:
                renewed = 0
            except (OSError, ValueError) as error:  # a full disk must not take the world down
                renewed = 0
                log.error("failed to renew certificates: %s", error)
            if renewed:
                log.info("renewed %d certificates", renewed)
            await asyncio.sleep(every_s)

    def look(self, now: datetime.datetime) -> int:
        """Renew what is due, and return how many certificates that were. Raises OSError, ValueError."""
        folder = Path(self._config.directory) / AUTHORITIES
        if not folder.is_dir():
            return 0
        kept = identity.read_files(folder)
        one = _Look(
            tuple(
                Authority.load(KeyPair(kept[f"{purpose}.crt"], kept[f"{purpose}.key"]), now, self._valid)
                for purpose in PURPOSES
            ),
            now,
            self._valid,
        )
        for region in self._config.regions:
            with suppress(FileNotFoundError):  # a region of another program needs none
                manifests.change(region, one.renew_secrets)
            for home in identity.region_folders(self._config, region.name):
                _replace(home, one.renewed(identity.read_files(home)))
        operator = Path(self._config.directory) / "operator"
        _replace(operator, one.renewed(identity.read_files(operator), keep_keys=True))
        return len(one.made)


class _Look:
    """One pass over everything: a certificate that is in two places is renewed once."""

    def __init__(self, authorities: tuple[Authority, ...], now: datetime.datetime, valid: datetime.timedelta) -> None:
        self.made: dict[str, KeyPair] = {}
        """The replacement of each certificate."""
        self._authorities = authorities
        self._now = now
        self._valid = valid

    def renew_secrets(self, objects: list[KubeObject]) -> bool:
        """Renew what Secrets hold, in place; return whether anything was due."""
        changed = False
        for item in objects:
            if item["kind"] == "Secret" and (fresh := self.renewed(item.get("stringData") or {})):
                item["stringData"] = {**item["stringData"], **fresh}
                changed = True
        return changed

    def renewed(self, files: Files, *, keep_keys: bool = False) -> Files:
        """Return the files of an identity that have to be replaced."""
        found: dict[str, str] = {}
        for certificate, key in PAIRS:
            if certificate in files and key in files:
                for pair in self._renewed(files[certificate], files[key] if keep_keys else None):
                    # The key first: as long as the certificate is the old one, it is due, and a look repairs the pair.
                    found |= {key: pair.key, certificate: pair.certificate}
        return found

    def _renewed(self, certificate: str, key: str | None) -> Iterator[KeyPair]:
        # What users mount themselves is of no authority of ours.
        if certificate not in self.made and is_due(certificate, self._now, self._valid):
            issuer = next((each for each in self._authorities if each.issued(certificate)), None)
            if issuer is not None:
                self.made[certificate] = issuer.renew(certificate, key)
        if certificate in self.made:
            yield self.made[certificate]


def _replace(folder: Path, files: Files) -> None:
    for name, text in files.items():
        if (folder / name).read_text("utf-8") != text:
            manifests.replace(folder / name, text)
