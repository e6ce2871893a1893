"""What a person does, per application: during an automated failover, for one by hand, for the way home, for a drill.

Every command stands in a block of its own so that a test can run them all.
"""

from leeward.base.units import duration_text
from leeward.compile.kube.kustomize import Files
from leeward.compile.observe.alerts import alerts_of
from leeward.spec.application import Application
from leeward.spec.spec import Spec


def runbooks(spec: Spec, application: Application) -> Files:
    """Return the pages by file name."""
    return {
        "automated-failover.md": _automated(spec, application),
        "manual-failover.md": _manual(spec, application),
        "failback.md": _failback(spec, application),
        "drill.md": _drill(spec, application),
        "alerts.md": _alerts(application),
    }


def _automated(spec: Spec, application: Application) -> str:
    app, (primary, *standbys) = application.metadata.name, spec.placement(application)
    wanted, budget = application.spec, spec.budget(application)
    lost = (
        "No acknowledged write is lost."
        if wanted.database.replication != "async"
        else f"Up to {duration_text(wanted.objectives.rpo_s)} of acknowledged writes may be lost; they are listed."
    )
    return _page(
        f"{app}: an automated failover",
        f"Alerts: LeewardRegionLost, LeewardFailedOver, LeewardNoPrimary. Nobody needs to do anything: when {primary}"
        f" is lost, {' or '.join(standbys)} takes over. Predicted: {budget.arithmetic()}. {lost}",
        [
            ("See who is primary, under which epoch, and why", "leeward status"),
            (
                f"See the pods of {standbys[0]}",
                f"leeward get pods --region {standbys[0]} --namespace {application.namespace}",
            ),
        ],
        f"It is over when status shows a primary, writable. Longer than {duration_text(wanted.objectives.rto_s)}:"
        " see manual-failover.md. Then see failback.md.",
    )


def _manual(spec: Spec, application: Application) -> str:
    app, (primary, *standbys) = application.metadata.name, spec.placement(application)
    return _page(
        f"{app}: a failover by hand",
        f"When {primary} works too badly to stay and too well to be declared lost: slow disks, a sick service. A"
        " switchover waits until the standby has everything and loses nothing; try it first. A failover does not wait.",
        [
            ("See whether the standby is close behind", "leeward status"),
            ("Without loss, while the primary still answers", f"leeward switchover {app} --to {standbys[0]}"),
            (
                "With the loss that the mode allows, when it does not",
                f"leeward failover {app} --to {standbys[0]} --confirm {app}",
            ),
        ],
        "It refuses what is unsafe and says why. Two primaries are worse than none.",
    )


def _failback(spec: Spec, application: Application) -> str:
    app, (primary, *_) = application.metadata.name, spec.placement(application)
    return _page(
        f"{app}: the way home",
        f"When {primary} is back. Its database rejoins by itself as a standby: writes it alone had are saved, then it"
        " is rewound and follows.",
        [
            ("Wait until it is a standby and has caught up", "leeward status"),
            ("Take the primary home, without loss", f"leeward switchover {app} --to {primary}"),
        ],
        "Choose a quiet hour: the write gap is short, and not nothing.",
    )


def _drill(spec: Spec, application: Application) -> str:
    app, (primary, *_) = application.metadata.name, spec.placement(application)
    wanted = application.spec
    return _page(
        f"{app}: a drill",
        "Every quarter, and after each change of the database, the network or the regions. On one machine first.",
        [
            (
                "Lose the primary's region, measure, and compare with the objectives",
                f"leeward drill region-loss --app {app} --region {primary} --runs 3",
            ),
            ("Cut it off instead", f"leeward drill partition --app {app} --region {primary} --runs 3"),
        ],
        f"Passed: RTO within {duration_text(wanted.objectives.rto_s)}, loss within"
        f" {duration_text(wanted.objectives.rpo_s)}. Keep the report; the exit status says it too: 0 passed, 1 missed.",
    )


def _alerts(application: Application) -> str:
    app = application.metadata.name
    first = _page(
        f"{app}: alerts",
        "What each alert means, and what to do. First of all, always:",
        [
            ("See how it stands, since when, and why", "leeward status --show-conditions"),
            ("See what was decided, and why", f"leeward records {app}"),
        ],
        "The severity says whether somebody is woken (critical), or looks in the morning (warning, info).",
    )
    sections = [
        f"## {alert.name}\n\n{alert.severity.capitalize()}: {alert.summary}.\n\n{alert.remedy}\n"
        for alert in alerts_of(application, "a region")
    ]
    return "\n".join([first, *sections])


def _page(title: str, when: str, steps: list[tuple[str, str]], end: str) -> str:
    lines = [f"# {title}", "", when, ""]
    for number, (what, command) in enumerate(steps, start=1):
        lines += [f"{number}. {what}:", "", "   ```sh", f"   {command}", "   ```", ""]
    return "\n".join([*lines, end]) + "\n"
