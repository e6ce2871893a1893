"""Runbooks of an application: automated failover, manual failover, failback, drill, alerts.

Every command stands in a block of its own so that a test can run them all.
"""

from leeward.base.units import duration_text
from leeward.compile.kube.kustomize import Files
from leeward.compile.observe.alerts import alerts_of
from leeward.spec.application import Application, Operator
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
    when = (
        f"Alerts: LeewardRegionLost, LeewardFailedOver, LeewardNoPrimary. No action is needed: when {primary}"
        f" is lost, {' or '.join(standbys)} takes over. Predicted: {budget.arithmetic()}. {lost}"
    )
    if wanted.database.operator is Operator.CLOUDNATIVE_PG:
        when = (
            f"Alert: LeewardRegionLost. Leeward does not move this database: when {primary} is lost, promote a replica"
            f" cluster as CloudNativePG's documentation says. {lost}"
        )
    return _page(
        f"{app}: automated failover",
        when,
        [
            ("Check which region is primary, under which epoch, and why", "leeward status"),
            (
                f"Check the pods of {standbys[0]}",
                f"leeward get pods --region {standbys[0]} --namespace {application.namespace}",
            ),
        ],
        "It is complete when status shows a writable primary. If it takes longer than"
        f" {duration_text(wanted.objectives.rto_s)}: see manual-failover.md. Afterwards see failback.md.",
    )


def _manual(spec: Spec, application: Application) -> str:
    app, (primary, *standbys) = application.metadata.name, spec.placement(application)
    return _page(
        f"{app}: manual failover",
        f"When {primary} is degraded but not declared lost: slow disks, a failing service. A"
        " switchover waits until the standby has all WAL and loses nothing; try it first. A failover does not wait.",
        [
            ("Check how far the standby is behind", "leeward status"),
            ("If the primary still answers, move it without loss", f"leeward switchover {app} --to {standbys[0]}"),
            (
                "If it does not, fail over with the loss that the mode allows",
                f"leeward failover {app} --to {standbys[0]} --confirm {app}",
            ),
        ],
        "Unsafe requests are refused with the reason. Two primaries are worse than no primary.",
    )


def _failback(spec: Spec, application: Application) -> str:
    app, (primary, *_) = application.metadata.name, spec.placement(application)
    return _page(
        f"{app}: failback",
        f"When {primary} is back. Its database rejoins automatically as a standby: writes that only it had are saved,"
        " then it is rewound and streams from the primary.",
        [
            ("Wait until it is a standby and has caught up", "leeward status"),
            ("Fail back without loss", f"leeward switchover {app} --to {primary}"),
        ],
        "Choose a time of low traffic: writes pause for a short time.",
    )


def _drill(spec: Spec, application: Application) -> str:
    app, (primary, *_) = application.metadata.name, spec.placement(application)
    wanted = application.spec
    return _page(
        f"{app}: drill",
        "Run it every quarter, and after each change of the database, the network or the regions. Try it on one machine"
        " first.",
        [
            (
                "Lose the primary's region, measure, and compare with the objectives",
                f"leeward drill region-loss --app {app} --region {primary} --runs 3",
            ),
            ("Partition the region instead", f"leeward drill partition --app {app} --region {primary} --runs 3"),
        ],
        f"Passed: RTO within {duration_text(wanted.objectives.rto_s)}, loss within"
        f" {duration_text(wanted.objectives.rpo_s)}. Keep the report. Exit status: 0 passed, 1 missed.",
    )


def _alerts(application: Application) -> str:
    app = application.metadata.name
    first = _page(
        f"{app}: alerts",
        "What each alert means, and what to do. Always start with:",
        [
            ("Show the current state, since when, and why", "leeward status --show-conditions"),
            ("Show what was decided, and why", f"leeward records {app}"),
        ],
        "Critical alerts page the on-call engineer; warning and info can wait for working hours.",
    )
    sections = [
        f"## {alert.name}\n\n{alert.severity.capitalize()}: {alert.summary}.\n\n{alert.remedy}\n"
        for alert in alerts_of(application, "a region")
    ]
    return "\n".join([first, *sections])


def _page(title: str, when: str, steps: list[tuple[str, str]], end: str) -> str:
    lines = [f"# {title}", "", when, ""]
    for number, (what, command) in enumerate(steps, start=1):
        lines += [f"{number}. {what}:", "", "    ```sh", f"    {command}", "    ```", ""]
    return "\n".join([*lines, end]) + "\n"
