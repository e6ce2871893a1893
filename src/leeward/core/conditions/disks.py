"""Whether databases have room to grow, from what each region reports about its volume. Pure."""

from collections.abc import Mapping

from leeward.core.conditions.catalogue import condition
from leeward.core.conditions.values import Condition, Type
from leeward.core.values import Disk, InstanceReport, Region

FREE_MIN = 0.1
"""Which share of a volume is to be free."""
_GIB = 2**30


def judge(reports: Mapping[Region, InstanceReport | None]) -> Condition:
    """Return the condition ``DiskHasRoom``, from the reports of the regions that are heard."""
    of = Type.DISK_HAS_ROOM
    disks = {r: report.disk for r, report in reports.items() if report is not None and report.disk is not None}
    filling = {region: disk for region, disk in disks.items() if disk.free_bytes < FREE_MIN * disk.size_bytes}
    if filling:
        fix = "enlarge the volume, delete what is not needed, or lower database.walRetention"
        return condition(of, "DiskFilling", f"{_listed(filling)}; {fix}")
    if not disks:
        return condition(of, "NotMeasured", "no region has reported its volume")
    return condition(of, "EnoughRoom", _listed(disks))


def _listed(disks: Mapping[Region, Disk]) -> str:
    return "; ".join(f"{region}: {_room(disk)}" for region, disk in disks.items())


def _room(disk: Disk) -> str:
    share = disk.free_bytes / disk.size_bytes if disk.size_bytes else 0.0
    return f"{disk.free_bytes / _GIB:.1f} of {disk.size_bytes / _GIB:.1f} GiB free ({share:.0%})"
