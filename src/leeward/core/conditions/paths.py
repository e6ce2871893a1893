"""Which paths between regions' gateways are broken, by what each region reports. Pure."""

from collections.abc import Mapping

from leeward.core.values import InstanceReport, Region


def broken(reports: Mapping[Region, InstanceReport | None]) -> dict[Region, dict[Region, str]]:
    """Return by region where its gateway does not carry the application's traffic, and why.

    ``reports`` has None for a region that is not heard. A path to such a region, or to one whose database is down, is
    not the gateway's fault. A gateway that is at its own limit stands under its own region's name.
    """
    found = {}
    for region, report in reports.items():
        if report is None:
            continue
        paths = {to: why for to, why in report.broken_paths.items() if to == region or _fit(reports.get(to))}
        if paths:
            found[region] = paths
    return found


def _fit(report: InstanceReport | None) -> bool:
    return report is not None and report.healthy
