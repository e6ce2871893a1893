"""Where providers' regions are: to a provider, another provider's region is named as its own nearest one."""

from collections.abc import Iterable

from leeward.spec.fleet import Location, Provider, Region
from leeward.spec.spec import estimated_rtt_s

Place = tuple[str, float, float]
# Enough of each provider's regions that every continent has two; latitudes and longitudes to the degree.
PLACES: dict[Provider, tuple[Place, ...]] = {
    Provider.AWS: (
        ("us-east-1", 39, -77),
        ("us-west-2", 46, -119),
        ("ca-central-1", 45, -73),
        ("sa-east-1", -24, -47),
        ("eu-central-1", 50, 9),
        ("eu-west-1", 53, -6),
        ("eu-north-1", 59, 18),
        ("eu-south-1", 45, 9),
        ("me-south-1", 26, 51),
        ("af-south-1", -34, 18),
        ("ap-south-1", 19, 73),
        ("ap-southeast-1", 1, 104),
        ("ap-northeast-1", 36, 140),
        ("ap-northeast-2", 37, 127),
        ("ap-southeast-2", -34, 151),
    ),
    Provider.GCP: (
        ("us-east4", 39, -77),
        ("us-west1", 45, -121),
        ("northamerica-northeast1", 45, -73),
        ("southamerica-east1", -24, -47),
        ("southamerica-west1", -33, -71),
        ("europe-west1", 50, 4),
        ("europe-west3", 50, 9),
        ("europe-north1", 60, 27),
        ("europe-southwest1", 40, -4),
        ("me-central1", 25, 51),
        ("africa-south1", -26, 28),
        ("asia-south1", 19, 73),
        ("asia-southeast1", 1, 104),
        ("asia-northeast1", 36, 140),
        ("asia-northeast3", 37, 127),
        ("australia-southeast1", -34, 151),
    ),
    Provider.AZURE: (
        ("eastus", 37, -79),
        ("westus2", 47, -120),
        ("canadacentral", 44, -79),
        ("brazilsouth", -24, -47),
        ("westeurope", 52, 5),
        ("germanywestcentral", 50, 9),
        ("northeurope", 53, -6),
        ("swedencentral", 61, 17),
        ("uaenorth", 25, 55),
        ("southafricanorth", -26, 28),
        ("centralindia", 19, 74),
        ("southeastasia", 1, 104),
        ("japaneast", 36, 140),
        ("koreacentral", 37, 127),
        ("australiaeast", -34, 151),
    ),
}


def names_at(regions: Iterable[Region], provider: Provider) -> dict[str, str]:
    """Return each region's name at a provider, no two the same: its own unchanged, others by distance."""
    listed = list(regions)
    names = {region.name: region.name for region in listed if region.provider is provider}
    for region in listed:
        if region.name in names:
            continue
        free = [place for place in PLACES[provider] if place[0] not in names.values()]
        names[region.name] = min(
            free,
            key=lambda place: estimated_rtt_s(region.location, Location(latitude=place[1], longitude=place[2])),
        )[0]
    return names


def continent(region: Region) -> str:
    """Return a continent's code for a place, roughly: enough to send users the right way."""
    latitude, longitude = region.location.latitude, region.location.longitude
    if longitude < -30:
        return "NA" if latitude > 12 else "SA"
    if longitude < 60:
        return "EU" if latitude > 35 else "AF"
    return "OC" if latitude < -10 else "AS"


def first_of_each_continent(regions: Iterable[Region]) -> dict[str, str]:
    """Return the region that a continent's users are sent to; providers take one for each."""
    first: dict[str, str] = {}
    for region in regions:
        first.setdefault(continent(region), region.name)
    return first
