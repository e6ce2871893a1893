"""What is wrong with the network between regions for a while. Each function returns what ends that."""

from collections.abc import Callable

from leeward.core.values import Region
from leeward.sim.faults import Fault, Kind
from leeward.sim.network import Network

Link = tuple[Region, Region]


def slow(network: Network, fault: Fault, regions: tuple[Region, ...]) -> Callable[[], None]:
    """Make messages take longer on the links that the fault is about."""
    links = _hit(fault, regions)
    for link in links:
        network.slow[link] = network.slow.get(link, 0.0) + fault.amount

    def end() -> None:
        for link in links:
            network.slow[link] = max(0.0, network.slow[link] - fault.amount)

    return end


def cut(network: Network, fault: Fault, regions: tuple[Region, ...]) -> Callable[[], None]:
    """Let nothing pass on the links that the fault is about."""
    links = _hit(fault, regions)
    for source, target in links:
        network.cut(source, target)

    def heal() -> None:
        for source, target in links:
            network.heal(source, target)

    return heal


def _hit(fault: Fault, regions: tuple[Region, ...]) -> list[Link]:
    """Return the links between the fault's region and the other one, or all others: both ways unless it is one-way."""
    where = fault.where
    others = [region for region in regions if region != where and fault.other in (None, region)]
    outward = [(where, region) for region in others]
    return outward if fault.kind is Kind.ONE_WAY else outward + [(b, a) for a, b in outward]
