"""How fast an agent is there again: its region's lease runs while it starts."""

import subprocess
import sys


def test_starting_imports_neither_the_users_files_nor_what_reads_them() -> None:
    code = "import sys, leeward.agent.__main__; print('imported', *sys.modules.keys() & set(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "pydantic", "yaml", "leeward.spec", "leeward.compile"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["imported"]
