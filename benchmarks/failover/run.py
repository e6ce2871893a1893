"""Patroni and Leeward lose the same region of the same world, in turn; how long could nobody write?

Usage: python benchmarks/failover/run.py [--runs N] [--replication async|sync] [--output table|json] [--only SIDE]
Exit status: 0 both sides were measured; 1 a run said nothing; 2 the benchmark could not run.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import measure
import ours
import peer_world
from environment import patroni_environment, patroni_version
from peer_settings import LOOP_WAIT_S, RETRY_TIMEOUT_S, TTL_S

from leeward.base.problem import ProblemsError
from leeward.core.codec import encode
from leeward.spec.load import load
from leeward.spec.spec import Spec
from leeward.world import engines

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
PATRONI, LEEWARD = "patroni", "leeward"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="region losses per side (default 5)")
    parser.add_argument("--replication", choices=("async", "sync"), default="async")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--only", choices=(PATRONI, LEEWARD), help="measure one side only")
    parser.add_argument("-f", dest="directory", type=Path, default=EXAMPLE, metavar="DIR", help="fleet and application")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs is at least 1")
    try:
        comparison = _compare(options)
    except (ProblemsError, peer_world.PeerError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 2
    print(encode(comparison) if options.output == "json" else measure.table(comparison))
    return 1 if comparison.patroni.failed or comparison.leeward.failed else 0


def _compare(options: argparse.Namespace) -> measure.Comparison:
    spec = load(options.directory)
    home = spec.placement(spec.applications[0])[0]
    found = engines.locate()
    sides: dict[str, list[measure.Run]] = {PATRONI: [], LEEWARD: []}
    patroni = "not measured"
    with patroni_environment() as python:
        patroni = patroni_version(python)
        peer = peer_world.Peer(
            spec=spec,
            home=home,
            engines=found,
            python=python,
            synchronous=options.replication == "sync",
            progress=_progress,
        )
        # One after the other, never both at once: they share the machine's cores.
        for number in range(1, options.runs + 1):
            for name, runs in sides.items():
                if options.only in (None, name):
                    _progress(f"run {number} of {options.runs}: {name}")
                    run = (
                        asyncio.run(peer_world.measure(peer))
                        if name == PATRONI
                        else ours.measure(options.directory, home, options.replication)
                    )
                    runs.append(run)
                    _progress(f"{name}: {run.because or f'{run.rto_write_s:.2f} s'}")
    timers = f"ttl {TTL_S}, loop_wait {LOOP_WAIT_S}, retry_timeout {RETRY_TIMEOUT_S}: its smallest"
    return _comparison(
        spec,
        home,
        options.replication,
        f"etcd {found.etcd_version}, PostgreSQL {found.postgres_version}, for both",
        measure.side("Patroni", patroni, f"{timers}; etcd's leader outside the lost region", sides[PATRONI]),
        measure.side("Leeward", version("leeward"), f"lease {spec.timers.lease_s:g} s", sides[LEEWARD]),
    )


def _comparison(
    spec: Spec, home: str, replication: str, engine: str, peer: measure.Side, leeward: measure.Side
) -> measure.Comparison:
    names = [region.name for region in spec.regions]
    return measure.Comparison(
        benchmark="failover",
        region=home,
        replication=replication,
        rtt_ms={f"{a} - {b}": 1000 * spec.rtt_s(a, b) for i, a in enumerate(names) for b in names[i + 1 :]},
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {platform.machine()}",
        engines=engine,
        patroni=peer,
        leeward=leeward,
        ratio_p50=measure.ratio(peer.rto_write_s.p50, leeward.rto_write_s.p50),
        ratio_p99=measure.ratio(peer.rto_write_s.p99, leeward.rto_write_s.p99),
    )


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
