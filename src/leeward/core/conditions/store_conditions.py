"""Judge the quorum store's state, from what agents report about its members. Pure."""

from leeward.core.conditions.catalogue import condition
from leeward.core.conditions.values import Condition, Type
from leeward.core.store_members import NO_SPACE, OLD_PERIODS, StoreFacts, StoreMember
from leeward.core.store_space import FILLING
from leeward.core.values import Region

CORRUPT = "CORRUPT"
MIB = 1024 * 1024


def conditions(store: StoreFacts, me: Region) -> tuple[Condition, Condition]:
    """Return whether the store has room and whether it is backed up, as the agent of ``me`` knows."""
    return _room(store, me), _backed_up(store)


def _room(store: StoreFacts, me: Region) -> Condition:
    of = Type.STORE_HAS_ROOM
    measured = {region: member for region, member in store.members.items() if member.db_bytes}
    if not measured:
        return condition(of, "NotYetKnown", "no member has been measured yet")
    detail = "; ".join(_size(region, member) for region, member in sorted(measured.items()))
    # Every member knows the alarms of all. What a lost region last reported may be over.
    own = measured.get(me)
    asked = [own] if own is not None and own.answers else list(measured.values())
    alarms = {alarm for member in asked for alarm in member.alarms}
    if CORRUPT in alarms:
        return condition(of, "Corrupt", f"etcd's alarm {CORRUPT} is raised; {detail}")
    if NO_SPACE in alarms:
        return condition(of, "NoSpace", f"etcd's alarm {NO_SPACE} is raised: no write is accepted; {detail}")
    filling = any(member.db_bytes > FILLING * member.quota_bytes for member in measured.values())
    return condition(of, "Filling" if filling else "HasRoom", detail)


def _size(region: Region, member: StoreMember) -> str:
    db, used, quota = (size / MIB for size in (member.db_bytes, member.in_use_bytes, member.quota_bytes))
    return f"{region}: {db:.1f} of {quota:.0f} MiB, {used:.1f} MiB in use"


def _backed_up(store: StoreFacts) -> Condition:
    of = Type.STORE_BACKED_UP
    ages_s = {region: store.backup_age_s(member) for region, member in store.members.items()}
    made = [(age_s, region) for region, age_s in ages_s.items() if age_s is not None]
    failed = [f"{region}: {member.backup_error}" for region, member in store.members.items() if member.backup_error]
    why = f" ({'; '.join(failed)})" if failed else ""
    if not made:
        return condition(of, "NoBackup" if failed else "NotYetKnown", f"no region has a checked backup{why}")
    age_s, region = min(made)
    detail = (
        f"{region} has the newest checked backup, {age_s / 60:.0f} min old; one is due every {store.every_s:g} s{why}"
    )
    return condition(of, "BackupRecent" if age_s <= OLD_PERIODS * store.every_s else "BackupOld", detail)
