"""Proves that a primary may admit the application: the record of its epoch, and commits that wait for the standbys.

Whether a commit waits is decided by a flag in shared memory that the *checkpointer* sets when it reloads
(``SyncRepUpdateSyncStandbysDefined``), so a session's own setting proves nothing. A commit seen waiting does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import psycopg
from psycopg.rows import TupleRow

from leeward.instance.instance import Instance
from leeward.instance.machine.values import Memory, Proof
from leeward.instance.successive import Successive

_RETRY_S = 0.2
_LOOK_S = 0.001
_WRITE_EVERY_S = 0.5
_WRITE_TIMEOUT_S = 10.0

_RECORD = """
INSERT INTO leeward.epoch (epoch, region, at) VALUES (%s, %s, pg_catalog.now())
ON CONFLICT (epoch) DO UPDATE SET at = pg_catalog.now()
"""
# Only WAL of its own makes a commit wait for the standbys.
_WRITE = "UPDATE leeward.epoch SET at = pg_catalog.now() WHERE epoch = %s"
# Locks no row: the proof's own commit holds the record's for as long as it waits for a standby.
_CHECK = "SELECT pg_catalog.pg_logical_emit_message(true, 'leeward', '')"
_WAITS = "SELECT wait_event FROM pg_catalog.pg_stat_activity WHERE pid = %s"

_Connection = psycopg.AsyncConnection[TupleRow]


class Prover:
    """At most one proof at a time. Its results go into the memory of the machine at once."""

    def __init__(self, instance: Instance, learn: Callable[[Memory], None]) -> None:
        """``learn`` is called with the memory after each thing shown."""
        self._instance = instance
        self._learn = learn
        self._task = Successive("prove-epoch")
        self._proof: Proof | None = None

    def prove(self, proof: Proof | None) -> None:
        """Run exactly this proof; None stops the current one."""
        if proof != self._proof:
            self._task.cancel()
        self._proof = proof
        if proof is not None and not self._task.running:
            self._task.begin(partial(self._show, proof))

    async def close(self) -> None:
        """End the task."""
        await self._task.close()

    async def _show(self, proof: Proof) -> None:
        instance = self._instance
        try:
            with instance.stage("prove"):
                writer = await instance.session.connect()
                async with writer:
                    # Locally: the record is there, first of this epoch's WAL, before any standby has it.
                    await writer.execute("SET synchronous_commit = local")
                    await writer.execute(_RECORD, (proof.epoch, instance.settings.region))
                    now_s = asyncio.get_running_loop().time()
                    self._learn(replace(instance.memory, recorded_epoch=proof.epoch, written_at_s=now_s))
                    if proof.synchronous is not None:
                        await self._wait_for_standbys(writer, proof)
                self._learn(replace(instance.memory, proved_epoch=proof.epoch))
        except (psycopg.Error, OSError):
            await asyncio.sleep(_RETRY_S)

    async def _wait_for_standbys(self, writer: _Connection, proof: Proof) -> None:
        """Commit until a commit was seen waiting and one was acknowledged."""
        warnings: list[str | None] = []
        writer.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
        await writer.execute("SET synchronous_commit = on")
        watcher = await self._instance.session.connect()
        async with watcher:
            while True:
                warnings.clear()
                write = asyncio.create_task(_write(writer, proof.epoch), name="prove-commit")
                try:
                    await self._watch(write, writer.info.backend_pid, watcher, proof)
                    await write
                finally:
                    write.cancel()
                    await asyncio.gather(write, return_exceptions=True)
                # A cancelled wait for the standbys is a warning, not an error: then nothing is shown.
                if self._instance.memory.waited == proof and not warnings:
                    return

    async def _watch(self, write: "asyncio.Task[None]", pid: int, watcher: _Connection, proof: Proof) -> None:
        while not write.done() and self._instance.memory.waited != proof:
            row = await (await watcher.execute(_WAITS, (pid,))).fetchone()
            if row is not None and row[0] == "SyncRep":
                # It waits after it was flushed here.
                now_s = asyncio.get_running_loop().time()
                self._learn(replace(self._instance.memory, waited=proof, written_at_s=now_s))
                return
            await asyncio.sleep(_LOOK_S)


async def _write(writer: _Connection, epoch: int) -> None:
    await writer.execute(_WRITE, (epoch,))


class WriteCheck:
    """Commits small writes periodically: they fail or hang on a disk that is full or stalled.

    Locally: a commit that waits for a standby proves nothing about the local disk.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._task = Successive("check-writes")

    def check(self, wanted: bool) -> None:
        """Check from now on, or no longer."""
        if not wanted:
            self._task.cancel()
        elif not self._task.running:
            self._task.begin(self._write_for_ever)

    async def close(self) -> None:
        """End the task."""
        await self._task.close()

    async def _write_for_ever(self) -> None:
        instance = self._instance
        while True:
            try:
                async with asyncio.timeout(_WRITE_TIMEOUT_S):
                    writer = await instance.session.connect()
                async with writer:
                    await writer.execute("SET synchronous_commit = local")
                    while True:
                        async with asyncio.timeout(_WRITE_TIMEOUT_S):
                            await writer.execute(_CHECK)
                        now_s = asyncio.get_running_loop().time()
                        instance.memory = replace(instance.memory, written_at_s=now_s)
                        await asyncio.sleep(_WRITE_EVERY_S)
            except (psycopg.Error, OSError):
                await asyncio.sleep(_RETRY_S)
