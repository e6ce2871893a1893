"""Commands on the world that soaks."""

import asyncio
import subprocess
import sys
from pathlib import Path

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
WORLD = "soak"
LEEWARD = Path(sys.executable).parent / "leeward"


async def leeward(*arguments: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; what it tells meanwhile is told on."""
    process = await asyncio.create_subprocess_exec(
        LEEWARD, *arguments, "--world", WORLD, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            output, told = await asyncio.gather(process.stdout.read(), _told_on(process.stderr))
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return subprocess.CompletedProcess(arguments, status, output.decode(), told)


async def _told_on(stream: asyncio.StreamReader) -> str:
    told = ""
    async for line in stream:
        told += line.decode()
        sys.stderr.write(line.decode())
    return told
