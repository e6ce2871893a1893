"""Renew the certificates of a running world when half of their life is left, or when their authority is exchanged.

Level-triggered: each look reads what is there, and replaces what is due. It only writes files: a region that runs
takes changed Secrets in by itself, one that is lost starts with them. So nothing here needs TLS, which may be what
has expired on a machine that slept for long.

Always true: a certificate keeps its names and usages, and is of the authority that issues for its purpose then
(``leeward.world.authorities``). Each gets a new key, except for the operator's: no command must find one of its two
files exchanged without the other.
"""

import datetime
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from leeward.core.identities import CA, CERTIFICATE, CLUSTER_CA, INSTANCE_CA, KEY, PEER_CA, PEER_CERTIFICATE, PEER_KEY
from leeward.kit.loops import Expected, repeat
from leeward.ports.cluster import KubeObject
from leeward.world import authorities, identity, manifests
from leeward.world.authorities import PURPOSES, Authorities
from leeward.world.authority import Authority, KeyPair, is_due, issued_by
from leeward.world.identity import Files
from leeward.world.kubernetes.volumes import Directories
from leeward.world.model import RegionConfig, WorldConfig

LOOK_EVERY_S = 10.0
"""Time asleep does not count: after a machine resumes, certificates that expired are renewed within this time."""
LOOKS_PER_LIFE = 30
PAIRS = ((CERTIFICATE, KEY), (PEER_CERTIFICATE, PEER_KEY))
TRUST = (CA, PEER_CA, INSTANCE_CA, CLUSTER_CA)
"""Files that say whose certificates are accepted."""
FILE_MAX = 1 << 16

log = structlog.get_logger()


class Renewal:
    """Renews the certificates of one world."""

    def __init__(self, config: WorldConfig) -> None:
        self._config = config
        self._valid = datetime.timedelta(seconds=config.certificates_s)

    async def run(self) -> None:
        """Check periodically, until cancelled."""
        every_s = min(LOOK_EVERY_S, self._config.certificates_s / LOOKS_PER_LIFE)

        def renew() -> None:
            if renewed := self.look(datetime.datetime.now(datetime.UTC)):
                log.info("renewed %d certificates", renewed)

        held = Expected((BlockingIOError,), None)
        # A full disk must not take the world down.
        failed = Expected((OSError, ValueError, KeyError), None, "failed to renew certificates", "error")
        await repeat("renew certificates", renew, every_s=every_s, expected=(held, failed))

    def look(self, now: datetime.datetime) -> int:
        """Renew what is due, and return how many certificates that were. Raises OSError, ValueError, KeyError."""
        one = self._begin(now)
        if one is None:
            return 0
        for region in self._config.regions:
            with suppress(FileNotFoundError):  # a region of another program needs none
                manifests.change(region, one.renew_secrets)
        for home in self._homes():
            _replace(home, one.renewed(identity.read_files(home)))
        operator = self._operator
        _replace(operator, one.renewed(identity.read_files(operator), keep_keys=True))
        return len(one.made)

    def behind(self, now: datetime.datetime) -> str | None:
        """Return where something is still to be replaced, in files or in volumes of pods; None: nowhere.

        All regions must run: what a lost one had mounted is still there. Writes nothing.
        Raises OSError, ValueError, KeyError.
        """
        one = self._begin(now)
        if one is None:
            return None
        for home in (*self._homes(), self._operator):
            if one.renewed(identity.read_files(home)):
                return str(home)
        for region in self._config.regions:
            with suppress(FileNotFoundError):
                if one.renew_secrets(manifests.read(region)):
                    return f"the Secrets of {region.name}"
            for volume, files in _volumes(self._config, region):
                if one.renewed(files):
                    return f"volume {volume} of a pod of {region.name}"
        return None

    def _begin(self, now: datetime.datetime) -> "_Look | None":
        folder = Path(self._config.directory) / authorities.DIRECTORY
        if not folder.is_dir():
            return None
        files = authorities.read(folder)
        return _Look(tuple(authorities.of_purpose(files, name) for name in PURPOSES), now, self._valid)

    def _homes(self) -> Iterator[Path]:
        for region in self._config.regions:
            yield from identity.region_folders(self._config, region.name)

    @property
    def _operator(self) -> Path:
        return Path(self._config.directory) / "operator"


class _Look:
    """One pass over everything: a certificate that is in two places is renewed once."""

    def __init__(self, purposes: tuple[Authorities, ...], now: datetime.datetime, valid: datetime.timedelta) -> None:
        self.made: dict[str, KeyPair] = {}
        """The replacement of each certificate."""
        self._purposes = purposes
        self._issuers = [(Authority.load(each.issuing, now, valid), each.known) for each in purposes]
        self._exchanging = any(len(each.known) > 1 for each in purposes)
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
        found = dict(self._trust(files))
        for certificate, key in PAIRS:
            if certificate in files and key in files:
                for pair in self._renewed(files[certificate], files[key] if keep_keys else None):
                    # The key first: as long as the certificate is the old one, it is due, and a look repairs the pair.
                    found |= {key: pair.key, certificate: pair.certificate}
        return found

    def _trust(self, files: Files) -> Iterator[tuple[str, str]]:
        for name in TRUST:
            for each in self._purposes:
                if name in files and files[name] != each.bundle and any(pem in files[name] for pem in each.known):
                    yield name, each.bundle

    def _renewed(self, certificate: str, key: str | None) -> Iterator[KeyPair]:
        if certificate not in self.made and (due := self._due(certificate)) is not None:
            for issuer, known in self._issuers:
                # What users mount themselves is of no authority of ours.
                if any(issued_by(certificate, each) for each in known):
                    if due or not issuer.issued(certificate):
                        self.made[certificate] = issuer.renew(certificate, key)
                    break
        if certificate in self.made:
            yield self.made[certificate]

    def _due(self, certificate: str) -> bool | None:
        """Return whether a certificate is due by its age; None when there is no reason to ask who issued it."""
        try:
            due = is_due(certificate, self._now, self._valid)
        except ValueError:  # a user's file of the same name
            return None
        return due if due or self._exchanging else None


def _volumes(config: WorldConfig, region: RegionConfig) -> Iterator[tuple[str, Files]]:
    """Yield what identities the pods of a region have mounted, by the names of the volumes."""
    pods = Directories(config.region_directory(region.name)).pods
    for volume in sorted(pods.glob("*/*/")):
        files = {name: text for name in (*TRUST, *sum(PAIRS, ())) if (text := _text(volume / name)) is not None}
        if files:
            yield volume.name, files


def _text(path: Path) -> str | None:
    """Return a file's text; None when it is no file. Pods may put anything here: nothing is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(FILE_MAX).decode(errors="replace")


def _replace(folder: Path, files: Files) -> None:
    for name, text in files.items():
        if (folder / name).read_text("utf-8") != text:
            manifests.replace(folder / name, text)
