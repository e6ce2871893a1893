"""A trace made readable: what happened and what was decided, without what merely repeats."""

import re

# Decisions that say nothing new to a reader of a story: waiting, and counting.
_WAITING = re.compile(
    r"holds its lease|has never been seen|has been silent for|(?<!primary; )waiting (for|until)|"
    r"only \d+ of \d+ replicas|is primary under"
)


def sentences(trace: list[str]) -> list[str]:
    """Return the lines worth reading, each sentence once per region that is the first to say it."""
    lines = list[str]()
    known = set[str]()
    for line in trace:
        what = line[28:]
        plain = re.sub(r"\d+\.\d+", "#", what)
        by_fate = line[13:27].strip() == "*"
        if not by_fate and (_WAITING.search(what) or plain in known):
            continue
        if by_fate:
            known.clear()
        known.add(plain)
        lines.append(re.sub(r"\s{2,}", "  ", line.strip()))
    return lines
