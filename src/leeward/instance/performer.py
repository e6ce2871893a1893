"""Performs the steps of the machine on one PostgreSQL, each to its end or its failure."""

import asyncio
import os
from typing import assert_never

import psycopg

from leeward.core.codec import DecodeError
from leeward.core.values import Region
from leeward.instance.instance import POLL_S, Instance
from leeward.instance.machine import steps as do
from leeward.instance.orphans.evidence import data_to_keep, fits_aside, set_data_aside, set_wal_aside
from leeward.instance.orphans.save import save, saved
from leeward.instance.postgres.lineage import ask
from leeward.instance.postgres.server import CommandError
from leeward.instance.state import sync_directory

_CHECKPOINT_TIMEOUT_S = 30.0
_PROMOTION_TIMEOUT_S = 30.0
_NEIGHBOUR_TIMEOUT_S = 3.0
_ASK_TIMEOUT_S = 3.0

FAILURES = (CommandError, DecodeError, psycopg.Error, OSError)


class Performer:
    """Performs steps on one instance. A step may be cancelled at any point, and repeated."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    async def perform(self, step: do.Step) -> do.Outcome:
        """Perform one step; an error of the database, its programs or the system is an outcome, too."""
        try:
            return await self._perform(step)
        except FAILURES as error:
            return do.Failed(str(error).strip() or type(error).__name__)

    async def _perform(self, step: do.Step) -> do.Outcome:
        match step:
            case do.AskNeighbours():
                return do.NeighboursAnswered(await self._who_has_data())
            case do.Compare(upstream=upstream):
                return await self._compare(upstream)
            case do.ReadEnd():
                return do.EndRead(await self._instance.data.clean_end_lsn())
            case do.SaveOrphans():
                return await self._save_orphans(step)
            case do.Rewind() | do.Copy():
                return await self._transfer(step)
            case do.KeepData(epoch=epoch):
                self._keep_data(epoch)
            case do.SetAside():
                return await self._set_aside()
            case do.Initialise() | do.Start() | do.Kill() | do.Stop() | do.Checkpoint() | do.Promote():
                await self._run_server(step)
            case do.Configure() | do.Cut() | do.CloseAdmission() | do.FreeReplay() | do.ProvideSlots():
                await self._adjust_server(step)
            case _:
                assert_never(step)
        return do.Done()

    async def _run_server(
        self, step: do.Initialise | do.Start | do.Kill | do.Stop | do.Checkpoint | do.Promote
    ) -> None:
        """Create, start, promote or end PostgreSQL."""
        instance = self._instance
        match step:
            case do.Initialise():
                with instance.stage("initdb"):
                    await instance.data.bootstrap(instance.server)
            case do.Start():
                await self._start(step)
            case do.Kill():
                await instance.end()
            case do.Stop(timeout_s=timeout_s):
                with instance.stage("stop"):
                    await instance.stop(timeout_s=timeout_s)
            case do.Checkpoint():
                with instance.stage("checkpoint"):
                    await instance.session.query("CHECKPOINT", timeout_s=_CHECKPOINT_TIMEOUT_S)
            case do.Promote():
                await self._promote()

    async def _adjust_server(
        self, step: do.Configure | do.Cut | do.CloseAdmission | do.FreeReplay | do.ProvideSlots
    ) -> None:
        """Change the settings, the slots or the admission of a running PostgreSQL."""
        instance = self._instance
        match step:
            case do.Configure(duty=duty):
                await instance.adopt(duty)
            case do.CloseAdmission():
                with instance.stage("close admission"):
                    await instance.close_admission()
            case do.Cut(duty=duty):
                await instance.cut(duty)
            case do.FreeReplay():
                await instance.free_replay()
            case do.ProvideSlots(regions=regions, stale=stale):
                await instance.provide_slots(regions, stale)

    async def _transfer(self, step: do.Rewind | do.Copy) -> do.Copied:
        """Give the data directory the upstream's history."""
        instance = self._instance
        match step:
            case do.Rewind(upstream=upstream):
                with instance.stage("rewind"):
                    copied = await instance.data.rewind_to(upstream)
            case do.Copy(upstream=upstream):
                with instance.stage("copy"):
                    copied = await instance.data.copy_from(upstream)
        instance.walrelay.clear_wal_removed(step.upstream)
        return do.Copied(copied)

    async def _start(self, step: do.Start) -> None:
        instance = self._instance
        if step.recovery:
            instance.data.keep_in_recovery()
            await instance.data.remove_foreign_histories()
        instance.start(step.duty)

    async def _who_has_data(self) -> tuple[tuple[Region, bool | None], ...]:
        """Ask every other region. None for a server that does not answer that."""
        instance = self._instance

        async def has(region: Region) -> bool | None:
            try:
                async with asyncio.timeout(_NEIGHBOUR_TIMEOUT_S):
                    await ask(instance.settings, instance.settings.upstreams[region], instance.replication_password)
            except TimeoutError:
                return None
            except psycopg.OperationalError as error:
                # A server that refuses a session, as during startup, has data; where nothing listens there is none.
                return error.sqlstate is not None or "FATAL" in str(error)
            except OSError:
                return False
            except psycopg.Error:
                return True
            return True

        regions = sorted(instance.settings.upstreams)
        answers = await asyncio.gather(*(has(region) for region in regions))
        return tuple(zip(regions, answers, strict=True))

    async def _promote(self) -> None:
        instance = self._instance
        with instance.stage("promote"):
            await instance.session.query("SELECT pg_catalog.pg_promote(false)")
            async with asyncio.timeout(_PROMOTION_TIMEOUT_S):
                while True:
                    seen = await instance.observe()
                    if seen is None or not seen.in_recovery:
                        return
                    await instance.free_replay()
                    await asyncio.sleep(POLL_S)

    async def _compare(self, upstream: Region) -> do.Compared:
        instance = self._instance
        address, password = instance.settings.upstreams[upstream], instance.replication_password
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            own = await ask(instance.settings, None, password)
            theirs = await ask(instance.settings, address, password)
        return do.Compared(own, theirs)

    async def _save_orphans(self, step: do.SaveOrphans) -> do.OrphansSaved:
        instance = self._instance
        with instance.stage("orphans"):
            kept = await save(
                instance.settings, instance.session, step.own, step.fork_lsn, step.epoch, isolated=instance.isolated
            )
        instance.orphans = saved(instance.settings.layout.orphans)
        if kept is None:
            return do.OrphansSaved(0)
        aside = data_to_keep(instance.settings.layout, kept)
        first = next(iter(kept.unread), None)
        return do.OrphansSaved(kept.transactions, kept.unread_tables, first, keep_data=aside is not None)

    async def _set_aside(self) -> do.Kept:
        layout = self._instance.settings.layout
        with self._instance.stage("set data aside"):
            if await asyncio.to_thread(fits_aside, layout):
                # Not in a thread, which would go on when a newer order starts PostgreSQL on this directory.
                return do.Kept(set_data_aside(layout))
            return do.Kept(await asyncio.to_thread(set_wal_aside, layout))

    def _keep_data(self, epoch: int | None) -> None:
        layout = self._instance.settings.layout
        os.rename(layout.data, layout.orphans / f"epoch-{epoch}.pgdata")
        sync_directory(layout.orphans)
