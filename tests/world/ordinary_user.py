"""Start a world, use it, end it, as whoever runs this; print what was seen as JSON. Usage: HOME."""

import asyncio
import json
import os
import sys

from leeward.world.client import launch
from tests.world.support import Caller, config


async def main() -> dict[str, object]:
    world = await launch(config("mine"))
    async with await Caller.inside(world, "us", "ap") as caller:
        await caller.ping_s()
        rtt_s = await caller.ping_s()
    frozen = await world.freeze("eu")
    await world.kill("us")
    info = await world.info()
    seen = {
        "isolation": info.isolation,
        "uids": [int(line.split()[1]) for line in (world.directory / "regions/ap/volumes/started").open()],
        "rtt_s": rtt_s,
        "frozen": len(frozen.pids),
        "states": [region.state for region in info.regions],
    }
    await world.down()
    return {**seen, "left": os.listdir(os.environ["LEEWARD_HOME"])}


if __name__ == "__main__":
    os.environ["LEEWARD_HOME"] = sys.argv[1]
    print(json.dumps(asyncio.run(main())))
