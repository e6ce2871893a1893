"""The deployment as a Mermaid flowchart: what runs where, and what flows between regions."""

from itertools import combinations

from leeward.spec.application import Application, Engine
from leeward.spec.spec import Spec


def diagram(spec: Spec) -> str:
    """Return Mermaid text: one box per region, arrows for replication, dotted lines for the quorum."""
    ids = {region.name: f"r{index}" for index, region in enumerate(spec.regions, start=1)}
    lines = ["flowchart TB", "  users([users])"]
    for region in spec.regions:
        lines += _region(spec, region.name, ids[region.name])
    for application in spec.applications:
        lines += _flows(spec, application, ids)
    names = list(ids)
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            rtt_ms = 1000 * spec.rtt_s(one, other)
            lines.append(f'  {ids[one]}_etcd -. "quorum, {rtt_ms:.0f}ms" .- {ids[other]}_etcd')
    return "\n".join(lines) + "\n"


def _region(spec: Spec, name: str, node: str) -> list[str]:
    region = spec.region(name)
    kind = ", witness" if region.witness else ""
    lines = [f'  subgraph {node}["{name} ({region.provider}{kind})"]']
    lines += [f"    {node}_agent[agent]", f"    {node}_etcd[(etcd)]"]
    placed = [application for application in spec.applications if name in spec.placement(application)]
    if placed:
        lines.append(f"    {node}_gateway[gateway]")
    # What an environment or an override has more of is what runs.
    running = {each.metadata.name: each for each in spec.on(spec.clusters(name)[0].name)} if placed else {}
    for index, application in enumerate(placed):
        app, node_app = application.metadata.name, f"{node}_app{index}"
        database = application.spec.database.engine
        lines += [
            f'    {node_app}["{app} x {running[app].spec.service.replicas}"]',
            f'    {node_app}_{database}[("{app}-{database}")]',
            f"    {node}_gateway --> {node_app} --> {node_app}_{database}",
        ]
    return [*lines, "  end"]


def _flows(spec: Spec, application: Application, ids: dict[str, str]) -> list[str]:
    primary, *standbys = spec.placement(application)

    def node(region: str) -> str:
        placed = [each for each in spec.applications if region in spec.placement(each)]
        return f"{ids[region]}_app{placed.index(application)}"

    users = [f"  users --> {ids[region]}_gateway" for region in (primary, *standbys)]
    database = application.spec.database
    if database.engine is Engine.COCKROACHDB:
        members = [f"{node(region)}_{database.engine}" for region in (primary, *standbys)]
        return [*users, *(f'  {one} == "Raft" === {other}' for one, other in combinations(members, 2))]
    wal = f'== "WAL, {database.replication}" ==>'
    return [*users, *(f"  {node(primary)}_postgres {wal} {node(standby)}_postgres" for standby in standbys)]
