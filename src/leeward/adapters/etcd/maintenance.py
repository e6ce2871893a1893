"""What an agent does to its own region's member beside reading and writing: backups, and room in its database."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd import programs
from leeward.adapters.etcd.backup import Backup
from leeward.adapters.etcd.gateway import Endpoint, Gateway, RequestRefusedError, open_gateway
from leeward.adapters.etcd.wire import any_key

BACKUP_S = 120.0
ALARM = re.compile(r"alarm:(\w+)")
COMPACTED = "required revision has been compacted"


@dataclass(frozen=True, slots=True)
class Measured:
    """One member's state, as it reports it."""

    revision: int
    leads: bool
    db_bytes: int
    in_use_bytes: int
    alarms: tuple[str, ...]
    """Of all members."""


class Maintenance:
    """One member, over connections of its own: a backup does not delay heartbeats. ``maintain`` makes one.

    Every method may raise QuorumUnavailableError.
    """

    def __init__(self, gateway: Gateway, backup_dir: Path) -> None:
        self._gateway = gateway
        self._endpoint = gateway.endpoints[0]
        self._backup_dir = backup_dir
        self._etcdutl = programs.find("etcdutl")

    async def newest_backup(self) -> tuple[float | None, str]:
        """Return when the newest whole backup was made, and what is wrong with newer ones. Raises OSError."""
        backup, errors = await asyncio.to_thread(backups.newest_checked, self._backup_dir)
        return backup.made_at_unix_s if backup is not None else None, "; ".join(map(str, errors))

    async def back_up(self, *, unix_s: float, keep: int) -> Backup:
        """Make a checked backup, and remove the oldest. Raises BackupError and OSError, too."""
        backup = await backups.save(
            self._gateway,
            self._endpoint,
            self._backup_dir,
            unix_s=unix_s,
            timeout_s=BACKUP_S,
            etcdutl=self._etcdutl,
        )
        await asyncio.to_thread(backups.prune, self._backup_dir, keep)
        return backup

    async def measure(self, *, timeout_s: float) -> Measured:
        """Return the member's state, once it has answered a linearizable read."""
        await self._gateway.post_to(self._endpoint, "/v3/kv/range", any_key(""), timeout_s=timeout_s)
        status = await self._gateway.post_to(self._endpoint, "/v3/maintenance/status", {}, timeout_s=timeout_s)
        alarms = {alarm for error in status.get("errors", ()) for alarm in ALARM.findall(str(error))}
        return Measured(
            revision=int(status["header"].get("revision", 0)),
            leads=status.get("leader") == status["header"]["member_id"],
            db_bytes=int(status.get("dbSize", 0)),
            in_use_bytes=int(status.get("dbSizeInUse", 0)),
            alarms=tuple(sorted(alarms)),
        )

    async def compact(self, revision: int, *, timeout_s: float) -> None:
        """Compact the history before a revision, in every member; return when its pages are free."""
        body = {"revision": str(revision), "physical": True}
        try:
            await self._gateway.post_to(self._endpoint, "/v3/kv/compaction", body, timeout_s=timeout_s)
        except RequestRefusedError as error:
            if COMPACTED not in str(error):
                raise

    async def defragment(self, *, timeout_s: float) -> None:
        """Give free pages back. The member answers no request meanwhile."""
        await self._gateway.post_to(self._endpoint, "/v3/maintenance/defragment", {}, timeout_s=timeout_s)

    async def disarm(self, alarm: str, *, timeout_s: float) -> None:
        """Lift an alarm, whichever members raised it."""
        path = "/v3/maintenance/alarm"
        raised = await self._gateway.post_to(self._endpoint, path, {"action": "GET"}, timeout_s=timeout_s)
        for each in raised.get("alarms", ()):
            if each.get("alarm") == alarm:
                body = {"action": "DEACTIVATE", "memberID": each["memberID"], "alarm": alarm}
                await self._gateway.post_to(self._endpoint, path, body, timeout_s=timeout_s)


@asynccontextmanager
async def maintain(endpoint: Endpoint, identity_dir: Path, backup_dir: Path) -> AsyncIterator[Maintenance]:
    """Look after one member, as the client of the store whose identity is in ``identity_dir``."""
    async with open_gateway([endpoint], identity_dir) as gateway:
        yield Maintenance(gateway, backup_dir)
