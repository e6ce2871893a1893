"""Where a world is: files, and addresses on this machine."""

from leeward.cli.render import facts, table
from leeward.world.model import WorldInfo


def places_of(world: WorldInfo) -> str:
    """Return a world's locations: files, and front doors by region."""
    general = facts(
        [
            ("world", world.name),
            ("files", ", ".join(world.files)),
            ("directory", world.directory),
            ("operator's identity", f"{world.directory}/operator"),
            ("supervisor's log", f"{world.directory}/supervisor.log"),
            ("isolation", world.isolation),
            *([("not emulated", "; ".join(world.not_emulated))] if world.not_emulated else []),
        ]
    )
    return f"{general}\n\n{front_doors(world)}"


def front_doors(world: WorldInfo) -> str:
    """Return the table of addresses on this machine."""
    return table(
        ("REGION", "STATE", "GATEWAY", "AGENT", "API-SERVER", "DNS"),
        [
            (
                each.name,
                each.state,
                each.gateway_url,
                each.agent_url.removeprefix("https://"),
                each.api_url.removeprefix("https://"),
                # As dig expects it: dig +tcp @HOST -p PORT, with the gateway's host.
                f"-p {each.dns_port}",
            )
            for each in world.regions
        ],
    )
