"""How fast an agent is there again: its region's lease runs while it starts."""

import subprocess
import sys

CODE = """
import sys, leeward.agent.__main__ as agent
unwanted, sys.argv[1:] = sys.argv[1:], ["--help"]
try:
    agent.start()
except SystemExit:
    print("imported:", *(name for name in unwanted if sys.modules.get(name)))
"""


def test_starting_imports_only_what_a_heartbeat_needs() -> None:
    of_the_users_files = ("pydantic", "yaml", "leeward.spec", "leeward.compile")
    of_later_moments = ("dns", "prometheus_client", "rich")
    command = [sys.executable, "-c", CODE, *of_the_users_files, *of_later_moments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "leeward-agent" in result.stdout
    assert result.stdout.splitlines()[-1] == "imported:"
