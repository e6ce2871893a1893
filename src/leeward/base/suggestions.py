"""What was probably meant by a wrong word."""

import difflib
from collections.abc import Iterable


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a wrong one, if any is."""
    lowered = {word.lower(): word for word in known}
    close = difflib.get_close_matches(wrong.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return how to fix a wrong word: the one that was probably meant, else all there are."""
    words = list(known)
    close = did_you_mean(wrong, words)
    return f"did you mean {close}?" if close else f"use one of: {', '.join(words)}"
