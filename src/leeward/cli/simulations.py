"""Predictions as text."""

from collections.abc import Iterator

from leeward.cli.console import Console
from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.core.codec import plain
from leeward.operate import predictions
from leeward.operate.predictions import Patience, Percentiles, Prediction, SimulationRequest


def names(console: Console) -> None:
    """List every fault."""
    console.data("\n".join(kind + ("" if usual else "  (only when named)") for kind, usual in predictions.faults()))


def predict(session: Session, request: SimulationRequest) -> ExitCode:
    """Run the simulation and print the prediction."""
    found = predictions.predict(request, session.console)
    session.answer("Prediction", plain(found), lambda: page(found))
    return ExitCode.DONE if found.passed else ExitCode.NO


def _freeze_lines(patience: Patience) -> Iterator[str]:
    """Yield the effect of freezes of the primary's region, in sentences."""
    for fails, effect in ((False, "tolerated"), (True, "fails over, needlessly if the region resumes")):
        lengths = [
            f"{each.lasting_s:g} s" + ("" if each.per_year is None else f" ({each.per_year:g} per year)")
            for each in patience.freezes
            if each.fails_over is fails
        ]
        if lengths:
            yield f"frozen for {', '.join(lengths)}: {effect}"
    if patience.needless_per_year is not None:
        yield f"needless failovers per year due to freezes: {patience.needless_per_year:g}"


def page(found: Prediction) -> str:
    """Return the prediction as text."""
    objectives, rto, rpo = found.objectives, found.rto_write_s, found.rpo_s
    moved, met = found.rto_failover_s, objectives.met

    def yes(holds: bool) -> str:
        return "yes" if holds else "NO"

    broken = len(found.violations)
    runs = f"{found.runs} {'incidents' if found.runs > 1 else 'incident'}"
    if found.hours is not None:
        runs = f"{found.runs} x {found.hours:g} hours"
    head = f"application/{found.application} {found.replication}: {runs}, "
    rto_target, rpo_target = (f"<= {limit_s:g} s" for limit_s in (objectives.rto_s, objectives.rpo_s))
    lines = [
        head + f"{found.represented_s:.0f} s of virtual time{_left_out(found)} in {found.took_s:.1f} s",
        "",
        f"{'OBJECTIVE':<12}{'TARGET':>10}{'PREDICTED':>12}   MET",
        f"{'rto-write':<12}{rto_target:>10}{rto.max:>10.2f} s   {yes(met.rto)}",
        f"{'rpo':<12}{rpo_target:>10}{rpo.max:>10.2f} s   {yes(met.rpo)}",
        f"{'safety':<12}{'no breach':>10}{f'{broken} breached' if broken else 'no breach':>12}   {yes(met.safety)}",
        "",
        f"{'IMPACT':<34}{'P50':>8}{'P99':>8}{'MAX':>8}",
        _row("longest time without a write (s)", rto),
        *([_row("the same, in runs with a failover", moved)] if moved is not None else []),
        _row("acknowledged writes lost (s)", rpo),
        f"{'acknowledged writes':<34}{found.acknowledged:>24}",
        f"{'lost':<34}{found.lost:>24}",
        f"{'failovers':<34}{found.failovers:>24}",
        f"{'of them needless':<42}{found.needless_failovers:>16}",
        f"{'write availability':<34}{found.availability:>22.2f} %",
        *_freeze_lines(found.patience),
        *(f"capacity: {each}" for each in found.capacity),
        *(f"violation in run {each.seed}: {each.because}" for each in found.violations),
        "",
        f"{'WORST RUNS':<14}{'NO WRITES':>10}{'LOST':>7}   WHAT HAPPENED",
        *(
            f"--seed {each.seed:<7}{each.rto_s:>8.2f} s{each.lost:>7}   "
            + "; ".join(each.incidents[:3])
            + (f"; and {len(each.incidents) - 3} more" if len(each.incidents) > 3 else "")
            for each in found.worst
        ),
        "",
        f"timeline of run {found.worst[0].seed}, in seconds since the first incident began:",
        *found.story,
    ]
    return "\n".join(lines)


def _left_out(prediction: Prediction) -> str:
    lived, represented = prediction.virtual_s, prediction.represented_s
    return f" ({lived:.0f} s simulated, the rest was idle)" if lived < represented else ""


def _row(name: str, of: Percentiles) -> str:
    return f"{name:<34}{of.p50:>8.2f}{of.p99:>8.2f}{of.max:>8.2f}"
