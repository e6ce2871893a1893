"""Which faults met which moments: the phase of the topology, and what the instance they struck was doing."""

from collections import Counter
from dataclasses import dataclass, field

from leeward.core.values import Phase
from leeward.sim.faults import Kind


@dataclass(slots=True)
class Coverage:
    """How often each fault struck at each moment."""

    phases: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (fault, phase of the topology)."""
    activities: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (fault, first word of the instance's activity)."""

    def add(self, other: "Coverage") -> None:
        """Add what another run met."""
        self.phases += other.phases
        self.activities += other.activities

    def unmet(self) -> list[tuple[str, str]]:
        """Return the pairs of fault and phase that never met."""
        return [(kind, phase) for kind in Kind for phase in Phase if not self.phases[kind, phase]]

    def table(self) -> str:
        """Return both matrices as text, one fault a line."""
        return (
            "\n\n".join(_matrix(counts) for counts in (self.phases, self.activities) if counts)
            + f"\n\nnever met: {', '.join(f'{kind} in {phase}' for kind, phase in self.unmet()) or 'none'}"
        )


def _matrix(counts: Counter[tuple[str, str]]) -> str:
    columns = sorted({column for _, column in counts})
    widths = [max(len(column), 5) for column in columns]
    lines = [" " * 24 + " ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))]
    for kind in Kind:
        cells = (f"{counts[kind, column] or '.':>{width}}" for column, width in zip(columns, widths, strict=True))
        lines.append(f"{kind:<24}" + " ".join(cells))
    return "\n".join(lines)
