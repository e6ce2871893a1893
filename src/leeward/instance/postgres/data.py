"""The data directory: made new, copied, rewound, measured. Every step may be interrupted and repeated."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import psycopg

from leeward.base.units import parse_lsn
from leeward.core.values import Region
from leeward.instance.machine.values import Duty
from leeward.instance.postgres import configuration, founding
from leeward.instance.postgres.configuration import OWN_DATABASE, SUPERUSER
from leeward.instance.postgres.connection import as_superuser
from leeward.instance.postgres.lineage import parse_history
from leeward.instance.postgres.pinned import options
from leeward.instance.postgres.server import CommandError, Server, StillRunningError, run
from leeward.instance.postgres.waldump import SEGMENT_BYTES, record_command
from leeward.instance.settings import Endpoint, ManagerSettings
from leeward.instance.state import sync_directory

_PAGE_BYTES = 8192
_PAGE_HEADER_BYTES = 24
_SEGMENT_HEADER_BYTES = 40
_COPY_TIMEOUT_S = 3600.0
_READY_TIMEOUT_S = 60.0

# What pg_rewind says (with --progress) once it has compared everything, and before it changes anything.
_REWIND_BEGINS, _NOTHING_TO_REWIND = "need to copy", "no rewind required"
_PROGRESS = re.compile(r"(\d+)/\d+ kB")


class DataDirectory:
    """PGDATA of one instance. PostgreSQL must not be running on it when it is replaced or rewound."""

    def __init__(self, settings: ManagerSettings, *, isolated: bool, owner: str, replication: str) -> None:
        """``owner`` and ``replication`` are the passwords of these two roles."""
        self._settings = settings
        self._isolated = isolated
        self._owner_password = owner
        self._replication_password = replication
        self.rewind_unchanged = False
        """The last rewind failed or was interrupted before it changed anything."""

    @property
    def exists(self) -> bool:
        """Whether there is any data."""
        return (self._settings.layout.data / "PG_VERSION").is_file()

    @property
    def rewind_interrupted(self) -> bool:
        """Whether a rewind was interrupted: the data directory can only be replaced."""
        return self._settings.layout.rewinding.exists()

    @property
    def in_recovery(self) -> bool:
        """Whether PostgreSQL would start on it as a standby."""
        return self._settings.layout.standby_signal.exists()

    def keep_in_recovery(self) -> None:
        """Make PostgreSQL start on it as a standby, never as a primary. Durable."""
        signal_file = self._settings.layout.standby_signal
        if not signal_file.exists():
            signal_file.touch(mode=0o600)
            sync_directory(signal_file.parent)

    async def bootstrap(self, server: Server) -> None:
        """Make a new database cluster (``founding``); no client can reach it meanwhile.

        Raises CommandError, psycopg.Error, TimeoutError; nothing is left in place then.
        """
        layout = self._settings.layout
        await asyncio.to_thread(shutil.rmtree, layout.copy, ignore_errors=True)
        await self._run(
            "initdb",
            "--pgdata",
            str(layout.copy),
            f"--username={SUPERUSER}",
            "--locale=C.utf8",
            "--encoding=UTF8",
            "--data-checksums",
            "--auth=trust",
            "--no-instructions",
            timeout_s=60,
        )
        configuration.write(self._settings, Duty(tcp=False), self._replication_password)
        server.start(layout.copy)
        try:
            await _answers(server, self._settings)
            await founding.found(self._settings, self._owner_password, self._replication_password)
        except BaseException:
            await server.end()
            raise
        await server.stop(timeout_s=30)
        self._install_copy()

    async def copy_from(self, upstream: Region) -> int:
        """Replace the data directory by a base backup of an upstream, a standby included; return its bytes.

        What is there stays until the copy is complete. Raises CommandError, TimeoutError.
        """
        layout = self._settings.layout
        await asyncio.to_thread(shutil.rmtree, layout.copy, ignore_errors=True)
        address = self._settings.upstreams[upstream]
        with self._password_at(address) as passfile:
            output = await self._run(
                "pg_basebackup",
                "--progress",
                "--pgdata",
                str(layout.copy),
                "--dbname",
                configuration.conninfo(address, passfile=passfile),
                "--wal-method=stream",
                "--checkpoint=fast",
                "--no-password",
                timeout_s=_COPY_TIMEOUT_S,
                errors_too=True,
            )
        (layout.copy / "standby.signal").touch(mode=0o600)
        self._install_copy()
        await asyncio.to_thread(shutil.rmtree, layout.replaced, ignore_errors=True)
        return copied_bytes(output)

    async def rewind_to(self, upstream: Region) -> int:
        """Undo what the upstream's history does not have; return how many bytes that copied.

        After a failure the directory is of no more use, unless ``rewind_unchanged``. Raises CommandError, TimeoutError.
        """
        rewinding = self._settings.layout.rewinding
        self.rewind_unchanged = False
        with rewinding.open("w+b") as said:
            sync_directory(rewinding.parent)
            try:
                output = await self._rewind(self._settings.upstreams[upstream], said)
            except StillRunningError:
                raise
            except BaseException:
                said.seek(0)
                if _REWIND_BEGINS not in said.read().decode(errors="replace"):
                    rewinding.unlink()
                    sync_directory(rewinding.parent)
                    self.rewind_unchanged = True
                raise
        if _REWIND_BEGINS not in output and _NOTHING_TO_REWIND not in output:
            raise CommandError("pg_rewind does not say when it begins, so this data cannot be relied on")
        self.keep_in_recovery()
        rewinding.unlink()
        return copied_bytes(output)

    async def _rewind(self, address: Endpoint, said: BinaryIO) -> str:
        with self._password_at(address) as passfile:
            return await self._run(
                "pg_rewind",
                "--progress",
                "--target-pgdata",
                str(self._settings.layout.data),
                "--source-server",
                configuration.conninfo(address, dbname=OWN_DATABASE, options=options(), passfile=passfile),
                "--no-ensure-shutdown",
                timeout_s=_COPY_TIMEOUT_S,
                errors_too=True,
                errors_to=said,
            )

    async def clean_end_lsn(self) -> int | None:
        """Return where the WAL ends after a clean shutdown of a primary; None when it was not one.

        It is the end of the shutdown checkpoint's record: a standby that reports this LSN has everything.
        """
        data = self._settings.layout.data
        facts = await self._control()
        if facts["Database cluster state"] != "shut down":
            return None
        checkpoint = facts["Latest checkpoint location"]
        timeline = int(facts["Latest checkpoint's TimeLineID"])
        command = record_command(self._settings.binaries, data / "pg_wal", timeline, parse_lsn(checkpoint))
        record = await run(command, isolated=self._isolated, timeout_s=10, tied=False)
        length = re.search(r"len \(rec/tot\): +\d+/ *(\d+)", record)
        if length is None or "CHECKPOINT_SHUTDOWN" not in record:
            raise CommandError(f"pg_waldump: no shutdown checkpoint at {checkpoint}")
        return record_end(parse_lsn(checkpoint), int(length[1]))

    async def remove_foreign_histories(self) -> None:
        """Remove history files of later timelines that forked off before the end of our WAL.

        A WAL receiver fetches an upstream's history before it is known whether it contains ours. One that
        does not would keep PostgreSQL from ever starting again. Raises CommandError, TimeoutError.
        """
        histories = sorted((self._settings.layout.data / "pg_wal").glob("????????.history"))
        if not histories:
            return
        facts = await self._control()
        timeline = int(facts["Min recovery ending loc's timeline"]) or int(facts["Latest checkpoint's TimeLineID"])
        held_lsn = max(
            parse_lsn(facts[name]) for name in ("Minimum recovery ending location", "Latest checkpoint location")
        )
        for path in histories:
            if int(path.stem, 16) <= timeline:
                continue
            left_at_lsn = dict(parse_history(path.read_text(encoding="utf-8"))).get(timeline, 0)
            if left_at_lsn < held_lsn:
                path.unlink(missing_ok=True)
        sync_directory(histories[0].parent)

    async def _control(self) -> dict[str, str]:
        """Return pg_controldata's output, by its own names."""
        output = await self._run("pg_controldata", str(self._settings.layout.data), timeout_s=10, tied=False)
        pairs = (line.partition(":") for line in output.splitlines())
        return {name: value.strip() for name, _, value in pairs}

    @contextmanager
    def _password_at(self, address: Endpoint) -> Iterator[str]:
        """Yield the path of a file with the password at an upstream. Root and our own user can read an environment."""
        path = self._settings.layout.copying_password_file
        configuration.write_password(path, address, self._replication_password)
        try:
            yield str(path)
        finally:
            path.unlink(missing_ok=True)

    def _install_copy(self) -> None:
        layout = self._settings.layout
        sync_directory(layout.copy)
        shutil.rmtree(layout.replaced, ignore_errors=True)
        if layout.data.exists():
            layout.data.rename(layout.replaced)
        layout.copy.rename(layout.data)
        sync_directory(layout.root)
        layout.rewinding.unlink(missing_ok=True)

    async def _run(
        self,
        program: str,
        *arguments: str,
        timeout_s: float,
        tied: bool = True,
        errors_too: bool = False,
        errors_to: BinaryIO | None = None,
    ) -> str:
        return await run(
            (str(self._settings.binaries / program), *arguments),
            isolated=self._isolated,
            timeout_s=timeout_s,
            tied=tied,
            errors_too=errors_too,
            errors_to=errors_to,
        )


async def _answers(server: Server, settings: ManagerSettings) -> None:
    """Return when a PostgreSQL that was started answers. Raises psycopg.OperationalError, TimeoutError."""
    async with asyncio.timeout(_READY_TIMEOUT_S):
        while True:
            try:
                async with await as_superuser(settings, "postgres"):
                    return
            except psycopg.OperationalError:
                if not server.running:
                    raise
            await asyncio.sleep(0.02)


def copied_bytes(progress: str) -> int:
    """Return how much pg_rewind or pg_basebackup copied, by the last line of their progress."""
    found = _PROGRESS.findall(progress)
    return int(found[-1]) * 1024 if found else 0


def record_end(start_lsn: int, length_bytes: int) -> int:
    """Return where a WAL record ends that starts at ``start_lsn``: page headers skipped, aligned to 8."""
    position, left = start_lsn, length_bytes
    while True:
        room = _PAGE_BYTES - position % _PAGE_BYTES
        if left <= room:
            return -(-(position + left) // 8) * 8
        position, left = position + room, left - room
        position += _SEGMENT_HEADER_BYTES if position % SEGMENT_BYTES == 0 else _PAGE_HEADER_BYTES
