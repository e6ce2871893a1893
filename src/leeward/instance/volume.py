"""Measures the volume: for the status, and for how much WAL is kept, which follows what is free."""

import asyncio
import shutil
import signal

from leeward.core.values import Disk
from leeward.instance.instance import Instance
from leeward.instance.postgres import configuration
from leeward.instance.status import Publisher
from leeward.kit.loops import Expected, repeat

PERIOD_S = 5.0
MOVED = 0.1
"""By which share the WAL that may be kept changes before PostgreSQL is configured again."""
_MIB = 2**20


async def watch(instance: Instance, publisher: Publisher) -> None:
    """Measure every few seconds, for ever."""

    async def measure() -> None:
        usage = await asyncio.to_thread(shutil.disk_usage, instance.settings.layout.root)
        publisher.disk = Disk(usage.total, usage.free // _MIB * _MIB)
        await instance.publish()
        await _follow(instance)

    # Also while the directory is being replaced.
    await repeat("measure the volume", measure, every_s=PERIOD_S, expected=(Expected((OSError,), None),))


async def _follow(instance: Instance) -> None:
    """Have PostgreSQL keep the share of what is free now.

    The rest of the configuration stays as it is; while a change of it is under way, the new one counts.
    """
    wanted_mb = await asyncio.to_thread(configuration.retained_mb, instance.settings)
    configured_mb = configuration.configured_mb(instance.settings)
    if configured_mb is None or abs(wanted_mb - configured_mb) <= MOVED * configured_mb:
        return
    if instance.server.running and instance.duty is not None:
        configuration.write(instance.settings, instance.duty, instance.replication_password)
        instance.server.signal(signal.SIGHUP)
