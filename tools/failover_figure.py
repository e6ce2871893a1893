"""Draw the loss of a region as `leeward drill region-loss -o json` measured it: `make figure`.

Of several runs, the one with the median time to the first write is drawn. Everything in the figure is from the report.
"""

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT = 980, 128, 140
BEFORE_S = 0.15
"""How much of the time before the fault is shown."""
LANE_Y, LANE_STEP = 96, 84
STYLE = """\
text{font:13px system-ui,sans-serif;fill:#24313f;stroke:#fff;stroke-width:3px;paint-order:stroke}
.title{font-size:16px;font-weight:600} .lane{font-weight:600} .small{font-size:12px;fill:#52606d}
.step{font-weight:600;fill:#14507a} text.kill{font-weight:600;fill:#b3261e}
.axis{stroke:#c3cbd3} .mark{stroke:#14507a;stroke-dasharray:3 4} line.kill{stroke:#b3261e;stroke-width:2}
.primary{fill:#1f7a4d} .standby{fill:#9fd0b6} .wait{fill:#dfe6ec} .act{fill:#2f7fb8} .budget{fill:#b9c4ce}
.dns{fill:#b26a00}
"""

Report = dict[str, Any]


def median_run(report: Report) -> dict[str, Any]:
    """Return the run with the median time to the first write, by the nearest rank. Raises ValueError without one."""
    runs = sorted(
        (run for run in report["timeline"] if run["first_write"] is not None), key=lambda run: run["first_write"]
    )
    if not runs:
        raise ValueError("no run of this report recovered: there is nothing to draw")
    return dict(runs[math.ceil(len(runs) / 2) - 1])


def caption(report: Report) -> str:
    """Return the figure in one sentence: the alternative text where it is embedded."""
    run = median_run(report)
    return (
        f"{report['region']} is lost at 0 s; the loss is detected after {run['detected']:.1f} s,"
        f" {run['elected_region']} is elected, and it takes the first write after {run['first_write']:.1f} s"
    )


def draw(report: Report) -> str:
    """Return the figure as SVG."""
    run = median_run(report)
    lost, elected = report["region"], run["elected_region"]
    others = sorted(region for region in run["dns_by_region"] if region != elected)
    figure = _Figure(until_s=run["first_write"] + 0.35)
    runs = f"the median of {report['runs']} runs" if report["runs"] > 1 else "one run"
    figure.text(14, 28, f"Loss of {lost}: {report['app']}, {report['replication']}, {runs}", "title")

    y = figure.lane(lost)
    figure.bar(-BEFORE_S, 0, y, "primary", thick=True)
    figure.line(0, y - 32, y + 12, "kill")
    figure.text(figure.x(0) + 6, y - 22, "every process killed", "kill")
    figure.text(figure.x(0) + 6, y + 18, "primary until then; its lease ends by itself", "small")

    y = figure.lane(elected)
    figure.bar(0, run["detected"], y, "wait")
    figure.text(figure.x(0) + 6, y - 12, f"waits for lease and margin: {run['detected']:.2f} s", "small")
    for name, start, end, below in (("elect", "detected", "elected", False), ("promote", "elected", "promoted", True)):
        figure.bar(run[start], run[end], y, "act", thick=True)
        took = f"{name} {run[end] - run[start]:.2f} s"
        figure.text(figure.x(run[start]) + 2, y + (28 if below else -18), took, "small")
    figure.bar(run["promoted"], figure.until_s, y, "primary", thick=True)
    figure.text(figure.x(run["promoted"]) + 8, y + 28, "primary", "small")
    figure.names(run, elected, y)

    for other in others:
        y = figure.lane(other)
        figure.bar(0, run["fenced"], y, "wait")
        figure.bar(run["fenced"], figure.until_s, y, "standby")
        figure.text(figure.x(run["fenced"]) + 6, y + 22, f"cut from {lost}, promises, follows {elected}", "small")
        figure.names(run, other, y)

    figure.mark(run["detected"], f"detected {run['detected']:.2f} s", "end")
    figure.mark(run["first_write"], f"first write {run['first_write']:.2f} s", "start")
    figure.budget(report["waterfall"])
    return figure.svg(caption(report))


class _Figure:
    def __init__(self, *, until_s: float) -> None:
        self.until_s = until_s
        self._parts: list[str] = []
        self._lanes = 0
        self._height = 0

    def x(self, at_s: float) -> float:
        return round(LEFT + (at_s + BEFORE_S) / (self.until_s + BEFORE_S) * (WIDTH - LEFT - RIGHT), 1)

    def lane(self, name: str) -> int:
        """Begin the next lane and return its middle."""
        y = LANE_Y + LANE_STEP * self._lanes
        self._lanes += 1
        self.text(14, y + 5, name, "lane")
        self._parts.append(self._line(self.x(-BEFORE_S), y, self.x(self.until_s), y, "axis"))
        return y

    def bar(self, from_s: float, to_s: float, y: int, style: str, *, thick: bool = False) -> None:
        height = 24 if thick else 12
        x, width = self.x(from_s), round(self.x(to_s) - self.x(from_s), 1)
        self._parts.append(f'<rect x="{x}" y="{y - height // 2}" width="{width}" height="{height}" class="{style}"/>')

    def text(self, x: float, y: float, words: str, style: str, anchor: str = "start") -> None:
        self._parts.append(
            f'<text x="{round(x, 1)}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def line(self, at_s: float, from_y: int, to_y: int, style: str) -> None:
        self._parts.append(self._line(self.x(at_s), from_y, self.x(at_s), to_y, style))

    @staticmethod
    def _line(x1: float, y1: int, x2: float, y2: int, style: str) -> str:
        return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{style}"/>'

    def names(self, run: dict[str, Any], region: str, y: int) -> None:
        """Mark when the region's DNS server removed the lost one."""
        at_s = run["dns_by_region"].get(region)
        if at_s is None:
            return
        x = self.x(at_s)
        self._parts.append(f'<path d="M{x} {y + 6}l-5 9h10z" class="dns"/>')
        self.text(x - 8, y + 18, f"removed from DNS {at_s:.2f} s", "small", "end")

    def mark(self, at_s: float, words: str, anchor: str) -> None:
        """Draw a vertical line through the lanes of the surviving regions, with words above."""
        top, bottom = LANE_Y + 34, LANE_Y + LANE_STEP * (self._lanes - 1) + 34
        self._parts.insert(0, self._line(self.x(at_s), top, self.x(at_s), bottom, "mark"))
        self.text(self.x(at_s) + (6 if anchor == "start" else -6), top + 8, words, "step", anchor)

    def budget(self, steps: list[dict[str, Any]]) -> None:
        """Draw the seconds, and below them what the derived budget allows for each step."""
        y = LANE_Y + LANE_STEP * self._lanes - 22
        for second in range(math.floor(self.until_s) + 1):
            self.line(second, y, y + 6, "axis")
            self.text(self.x(second), y + 20, f"{second} s", "small", "middle")
        self._height = y + 32
        y += 46
        allowed = [(step["name"], step["budget_s"]) for step in steps if step["budget_s"] is not None]
        if not allowed:
            return
        self.text(14, y + 5, "budget", "lane")
        at_s = 0.0
        for _, budget_s in allowed:
            self.bar(at_s, at_s + budget_s - 0.012, y, "budget")
            at_s += budget_s
        words = " + ".join(f"{name} {budget_s:.2f}" for name, budget_s in allowed)
        self.text(self.x(0) + 2, y + 24, f"{words} = {at_s:.2f} s", "small")
        self._height = y + 38

    def svg(self, label: str) -> str:
        size = f'viewBox="0 0 {WIDTH} {self._height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}">',
            f"<style>\n{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{self._height}" fill="#fff"/>',
            *self._parts,
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


def main() -> None:
    """Read a report and write the figure. Usage: failover_figure.py REPORT.json FIGURE.svg"""
    report, figure = map(Path, sys.argv[1:3])
    figure.write_text(draw(json.loads(report.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
