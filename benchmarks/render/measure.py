"""Compile many applications for many clusters, and build the same overlays with the real kustomize; print both.

    python benchmarks/render/measure.py --applications 1000 --clusters 10

Both start from the same files. Ours reads each Application with its Fleet from disk, checks and compiles it for each
cluster and writes every object as YAML. kustomize builds the overlays that ``leeward render`` wrote, one process for
each cluster of each application, as its users run it; being slower it builds a sample, and is judged by the object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from leeward.compile.cluster import application_objects
from leeward.compile.kube.yaml_text import documents
from leeward.compile.site import site_of
from leeward.compile.target import Images
from leeward.compile.tree import tree
from leeward.spec import load
from leeward.world.objects import engine_commands

VERSION = "v5.7.1"


@dataclass(frozen=True, slots=True)
class Result:
    """What one of the two did."""

    objects: int
    seconds: float
    """Of processor time, user and system: the machine may be busy with other work."""
    wall_s: float
    memory_mib: float
    """The largest resident set of one process."""

    @property
    def objects_per_s(self) -> float:
        """Objects for each second of processor time."""
        return self.objects / self.seconds


def fleet(clusters: int) -> str:
    """Return a fleet of three regions with so many clusters."""
    places = [("us", 38.9, -77.4), ("eu", 50.4, 3.8), ("jp", 35.7, 139.8)]
    lines = ["apiVersion: leeward.dev/v1alpha1", "kind: Fleet", "metadata: {name: many}", "spec:", "  regions:"]
    for number, (name, latitude, longitude) in enumerate(places):
        lines.append(f"    - name: {name}")
        lines.append(f"      location: {{latitude: {latitude}, longitude: {longitude}}}")
        lines.append("      clusters:")
        lines += [f"        - {{name: {name}-{index}}}" for index in range(number, clusters, len(places))]
    return "\n".join(lines) + "\n"


def application(number: int) -> str:
    """Return an application of ordinary size, with an override."""
    return f"""\
apiVersion: leeward.dev/v1alpha1
kind: Application
metadata: {{name: app-{number}}}
spec:
  service:
    image: example.com/app-{number}:1
    command: [app, --port, "8000"]
    resources: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{memory: 256Mi}}}}
    autoscaling: {{min: 2, max: 6}}
    config: {{LEVEL: info, NUMBER: "{number}"}}
  environments:
    - {{name: production, spec: {{service: {{replicas: 3}}}}}}
  overrides:
    - {{regions: [eu], spec: {{service: {{config: {{LEVEL: debug}}}}}}}}
"""


def lay_out(home: Path, applications: int, clusters: int) -> list[Path]:
    """Write the files; return a directory for each application."""
    directories = []
    for number in range(applications):
        directory = home / f"app-{number}"
        directory.mkdir()
        (directory / "application.yaml").write_text(application(number), "utf-8")
        (directory / "fleet.yaml").write_text(fleet(clusters), "utf-8")
        directories.append(directory)
    return directories


def ours(directories: list[Path], out: Path) -> int:
    """Read, check, compile and write everything; return the number of objects."""
    commands, images, count = engine_commands(), Images(), 0
    for directory in directories:
        spec = load(directory)
        for region in spec.regions:
            for cluster in spec.clusters(region.name):
                site = site_of(spec, cluster.name, engines=commands, images=images)
                items = application_objects(site, site.spec.applications[0])
                (out / f"{directory.name}-{cluster.name}.yaml").write_text(documents(items), "utf-8")
                count += len(items)
    return count


def run_ours(home: Path, directories: list[Path]) -> Result:
    """Measure ours in a process of its own, so that its memory is its own."""
    out = home / "ours"
    out.mkdir()
    started, before = time.perf_counter(), _children_s()
    arguments = [sys.executable, __file__, "--child", str(out), *map(str, directories)]
    child = subprocess.run(arguments, capture_output=True, text=True, check=True)
    count, memory_mib = json.loads(child.stdout)
    return Result(count, _children_s() - before, time.perf_counter() - started, memory_mib)


def run_kustomize(binary: Path, home: Path, directories: list[Path]) -> Result:
    """Measure kustomize on the overlays of these applications."""
    folders = []
    for directory in directories:
        for name, text in tree(load(directory), engines=engine_commands()).items():
            path = home / "trees" / directory.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        overlays = (home / "trees" / directory.name).glob("apps/*/overlays/*")
        folders += [each for each in sorted(overlays) if each.name != "production"]
    started, before, count, memory_kib = time.perf_counter(), _children_s(), 0, 0
    for index, folder in enumerate(folders):
        out = home / f"kustomize-{index}.yaml"
        process = subprocess.Popen([binary, "build", folder, "-o", out])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"kustomize build {folder} failed")
        memory_kib = max(memory_kib, usage.ru_maxrss)
        count += out.read_text("utf-8").count("\nkind: ")
    return Result(count, _children_s() - before, time.perf_counter() - started, memory_kib / 1024)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Run both and print them side by side; exit status 1 below the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--applications", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--sample", type=int, default=10, help="applications that kustomize builds")
    parser.add_argument("--kustomize", type=Path, default=os.environ.get("KUSTOMIZE"), help=f"{VERSION}, a binary")
    parser.add_argument("--target", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child:
        count = ours([Path(each) for each in wanted.child[1:]], Path(wanted.child[0]))
        print(json.dumps([count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return 0
    if wanted.kustomize is None:
        parser.error("say --kustomize, or set KUSTOMIZE; python -m tests.compile.kustomize.prepare builds it")
    with tempfile.TemporaryDirectory(prefix="leeward-render-") as directory:
        home = Path(directory)
        directories = lay_out(home, wanted.applications, wanted.clusters)
        here = run_ours(home, directories)
        there = run_kustomize(wanted.kustomize, home, directories[: wanted.sample])
    ratio = here.objects_per_s / there.objects_per_s
    if wanted.json:
        print(json.dumps({"leeward": asdict(here), "kustomize": asdict(there), "ratio": ratio}))
    else:
        print(f"{'':12}{'objects':>10}{'CPU s':>9}{'wall s':>9}{'objects/s':>11}{'MiB':>7}")
        for name, each in (("leeward", here), ("kustomize", there)):
            row = f"{each.objects:>10}{each.seconds:>9.1f}{each.wall_s:>9.1f}{each.objects_per_s:>11.0f}"
            print(f"{name:12}{row}{each.memory_mib:>7.0f}")
        print(f"{ratio:.1f} times as many objects a second; the target is {wanted.target:g}")
    return 0 if ratio >= wanted.target else 1


if __name__ == "__main__":
    sys.exit(main())
