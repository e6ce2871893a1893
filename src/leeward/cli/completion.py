"""``kubectl_complete-leeward``: what kubectl runs to complete ``kubectl leeward ...``.

It gets the words so far, the last one perhaps empty, and prints a completion per line and at last a directive.
For ``leeward`` itself: ``leeward --install-completion``.
"""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Sequence

FILES_TOO, NO_FILES = ":0", ":4"
"""Cobra's directives: let the shell complete files, or not."""


def complete(words: Sequence[str]) -> list[str]:
    """Return the lines that kubectl expects, by running the completion as bash would."""
    from leeward.cli.main import build

    *before, incomplete = words or ("",)
    typed = ["leeward", *before, *([incomplete] if incomplete else [])]
    os.environ |= {
        "_LEEWARD_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(typed),
        "COMP_CWORD": str(1 + len(before)),
    }
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        build()(prog_name="leeward")
    found = output.getvalue().split()
    return [*found, NO_FILES if found else FILES_TOO]


def main() -> int:
    """Print the completions of the arguments."""
    print("\n".join(complete(sys.argv[1:])))
    return 0
