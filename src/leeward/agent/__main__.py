"""``python -m leeward.agent --config FILE``, with no more modules than it needs: its lease runs while it starts."""

import sys


def start() -> None:
    """Run one agent."""
    # structlog takes rich, where it is there, to colour tracebacks for people: an eighth of the whole start.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from leeward.agent.runtime.command import main

    main()


if __name__ == "__main__":
    start()
