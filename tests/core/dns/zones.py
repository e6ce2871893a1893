"""Builders: three regions and one application, and how they differ in the row at hand."""

from dataclasses import replace
from typing import Any

from leeward.core.dns.settings import DnsSettings, NamedApp, NamedRegion, Policy
from leeward.core.values import App, Region

US, EU, AP = Region("us"), Region("eu"), Region("ap")
REGIONS = (US, EU, AP)
APP = App("shop")
HOST = "shop.example.com"
SHOP = NamedApp(
    app=APP,
    host=HOST,
    policy=Policy.LATENCY,
    ttl_s=5,
    regions=REGIONS,
    weights=dict.fromkeys(REGIONS, 100),
    nearest={US: (US, EU, AP), EU: (EU, US, AP), AP: (AP, US, EU)},
)
ALL = dict.fromkeys(REGIONS, 1.0)
GATEWAYS = {US: "192.0.2.1", EU: "192.0.2.2", AP: "192.0.2.3"}


def shop(**changes: Any) -> NamedApp:
    return replace(SHOP, **changes)


def settings(*apps: NamedApp) -> DnsSettings:
    return DnsSettings(
        domain="example.com",
        listen_host="127.0.0.1",
        listen_port=0,
        regions=tuple(
            NamedRegion(name, (f"10.{index}.0.0/16", f"2001:db8:{index}::/48"), GATEWAYS[name], f"198.51.100.{index}")
            for index, name in enumerate(REGIONS, start=1)
        ),
        apps=apps or (SHOP,),
    )
