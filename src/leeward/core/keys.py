"""Where things are in the quorum store. All keys of a fleet live under one prefix."""

from leeward.core.values import App, Region


def fleet_prefix(fleet: str) -> str:
    """Return the prefix of everything that belongs to the fleet."""
    return f"/leeward/{fleet}/"


def generation(fleet: str) -> str:
    """Return the key of the store's generation; absent until the store went back for the first time."""
    return f"{fleet_prefix(fleet)}generation"


def fence(fleet: str, region: Region) -> str:
    """Return the key of the number that is bumped to depose a region's primaries."""
    return f"{fleet_prefix(fleet)}regions/{region}/fence"


def heartbeat(fleet: str, region: Region) -> str:
    """Return the key of a region's last heartbeat."""
    return f"{fleet_prefix(fleet)}regions/{region}/heartbeat"


def declared(fleet: str, region: Region) -> str:
    """Return the key of the data regions that a region's files name for each application."""
    return f"{fleet_prefix(fleet)}regions/{region}/declared"


def topology(fleet: str, app: App) -> str:
    """Return the key of the truth about an application."""
    return f"{fleet_prefix(fleet)}apps/{app}/topology"


def promise(fleet: str, app: App, region: Region) -> str:
    """Return the key of a replica's last promise."""
    return f"{fleet_prefix(fleet)}apps/{app}/promises/{region}"


def progress(fleet: str, app: App) -> str:
    """Return the key of how far the primaries' WAL was over time."""
    return f"{fleet_prefix(fleet)}apps/{app}/progress"


def accepted(fleet: str, app: App) -> str:
    """Return the key of the operators' requests that changed an application lately."""
    return f"{fleet_prefix(fleet)}apps/{app}/accepted"


def drill(fleet: str, app: App) -> str:
    """Return the key of how an application's last drill ended."""
    return f"{fleet_prefix(fleet)}apps/{app}/drill"


def removed(fleet: str, app: App) -> str:
    """Return the key of what is kept of an application that was removed."""
    return f"{fleet_prefix(fleet)}apps/{app}/removed"


def tally(fleet: str, app: App) -> str:
    """Return the key of what is counted of an application's failovers."""
    return f"{fleet_prefix(fleet)}apps/{app}/tally"


def delays(fleet: str, region: Region) -> str:
    """Return the key of how long a region's agent saw the other regions fall silent."""
    return f"{fleet_prefix(fleet)}regions/{region}/delays"


def all_offers(fleet: str) -> str:
    """Return the prefix of what regions say of the services that their clusters export."""
    return f"{fleet_prefix(fleet)}exports/"


def offers(fleet: str, region: Region) -> str:
    """Return the key of what a region exports."""
    return f"{all_offers(fleet)}{region}"


def decisions(fleet: str) -> str:
    """Return the prefix of the decision log."""
    return f"{fleet_prefix(fleet)}decisions/"


def decision(fleet: str, at_unix_s: float, region: Region, kind: str, number: int) -> str:
    """Return the key of one decision: keys sort by time, and no two writers share one."""
    return f"{decisions(fleet)}{int(at_unix_s * 1000):015d}-{region}-{number:06d}-{kind}"
