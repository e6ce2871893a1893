"""What a pod can do to the processes of another one, although both are one user: see that they are there."""

import json
import os
from typing import Any

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.kit import landlock
from leeward.ports.cluster import PODS
from tests.kit import waiting
from tests.world.kubernetes.region import NAMESPACE, WAIT_S, Region, log_of, ready, until, workload

# Root on this machine would be let in by its capabilities; pods of a world have none.
WITHOUT_CAPABILITIES = """
import ctypes, json, os, signal, subprocess, sys, time
libc = ctypes.CDLL(None)
assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""
VICTIM = WITHOUT_CAPABILITIES + "time.sleep(1000)"
PRY = (
    WITHOUT_CAPABILITIES
    + """
def tried(action):
    try:
        action()
        return "done"
    except OSError as error:
        return type(error).__name__
def all_of(pid):
    return {
        "signal": tried(lambda: os.kill(pid, signal.SIGCONT)),
        "environ": tried(lambda: open(f"/proc/{pid}/environ", "rb").read()),
        "mem": tried(lambda: open(f"/proc/{pid}/mem", "rb").close()),
        "file": tried(lambda: os.stat(f"/proc/{pid}/fd/1")),
        "directory": tried(lambda: os.stat(f"/proc/{pid}/cwd")),
    }
def found(mark):
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line, status = (open(f"/proc/{pid}/{name}").read() for name in ("cmdline", "status"))
            except OSError:
                continue
            if line.endswith(f"\\0{mark}\\0") and "CapPrm:\\t0000000000000000" in status:
                return int(pid)
        time.sleep(0.05)
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2] + "-own"])
own, other = found(sys.argv[2] + "-own"), found(sys.argv[2])
print(json.dumps({"own": all_of(own), "other": all_of(other), "region": all_of(os.getppid())}), flush=True)
time.sleep(1000)
"""
)
ALL = dict.fromkeys(("signal", "environ", "mem", "file", "directory"), "done")
NOTHING = dict.fromkeys(ALL, "PermissionError")


async def test_a_pod_reaches_no_process_of_another_one(region: Region, cluster: KubernetesCluster) -> None:
    def program(*words: str) -> dict[str, Any]:
        return {"containers": [{"name": "main", "command": ["python", "-c", *words]}]}

    mark = f"victim-{region.index}-{os.getpid()}"
    region.write_manifests(
        workload("StatefulSet", "victim", program(VICTIM, mark)),
        workload("StatefulSet", "pry", program(PRY, VICTIM, mark)),
    )
    await region.start()
    await until(cluster, PODS, ready(2))
    said = await waiting.until(lambda: log_of(cluster, "pry-0"), within_s=WAIT_S, every_s=0.1)
    tried = json.loads(said)
    assert tried["own"] == ALL, "what it started itself is its own"
    # The kernel keeps them apart from Linux 6.12 on.
    assert tried["other"] == (NOTHING if landlock.can_keep_to_itself() else ALL)
    # Outside of a world of root this one has capabilities, which pods have not.
    assert tried["region"]["signal"] == ("PermissionError" if landlock.can_keep_to_itself() else "done")
    # And they are ended as ever.
    for name in ("victim-0", "pry-0"):
        await cluster.delete(PODS, name, namespace=NAMESPACE, timeout_s=WAIT_S)
    await until(cluster, PODS, lambda pods: ready(2)(pods) and "pry-0" in str(pods))
