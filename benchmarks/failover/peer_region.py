"""The program of one region on Patroni's side: etcd, Patroni (and its PostgreSQL), and a client that writes.

Runs as pid 1 of the region's namespace, where orphans come to be waited for: Patroni's PostgreSQL is one.
Usage: peer_region.py SETTINGS
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from peer_settings import PeerSettings, etcd_command, patroni_configuration

from leeward.core.codec import decode

RESTART_PAUSE_S = 1


def main(path: str) -> None:
    """Start everything, say so, and start again what ends (Patroni, until etcd has formed), as an init would."""
    settings = decode(PeerSettings, Path(path).read_bytes())
    directory = Path(settings.directory)
    configuration = directory / "patroni.yml"
    configuration.write_text(json.dumps(patroni_configuration(settings)))  # JSON is YAML
    commands = {
        "etcd": etcd_command(settings),
        "patroni": [settings.python, "-m", "patroni", str(configuration)],
        "writer": [sys.executable, str(Path(__file__).with_name("writer.py")), path],
    }
    names = {start(name, command, directory): name for name, command in commands.items()}
    print("ready", flush=True)
    while True:
        pid, status = os.wait()
        if pid in names:
            name = names.pop(pid)
            print(f"{name} ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
            time.sleep(RESTART_PAUSE_S)
            names[start(name, commands[name], directory)] = name


def start(name: str, command: list[str], directory: Path) -> int:
    """Start one process, its output in a file of its own; return its pid."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(directory)}
    with (directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    return process.pid


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(sys.argv[1])
