"""Commands on the world that soaks."""

import asyncio
import sys
from pathlib import Path

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
WORLD = "soak"
LEEWARD = Path(sys.executable).parent / "leeward"


async def leeward(*arguments: str, timeout_s: float) -> tuple[int, str]:
    """Run a command; return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        LEEWARD, *arguments, "--world", WORLD, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()
