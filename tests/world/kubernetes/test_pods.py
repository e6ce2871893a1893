"""Pods as real processes: restarts, probes, volumes, environment, and what is left when they end."""

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.ports.cluster import ENDPOINTS, EVENTS, PODS, RejectedError
from tests.world.kubernetes.region import (
    NAMESPACE,
    WAIT_S,
    Region,
    container_status,
    exists,
    log_of,
    pid_of,
    ready,
    service,
    shell,
    so,
    until,
    workload,
)

CLAIM = [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]
DATA_MOUNT = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}


async def test_a_killed_container_is_started_again(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", shell("exec sleep 1000")))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    first = pid_of(pod)
    os.kill(first, signal.SIGKILL)
    (pod,) = await until(cluster, PODS, lambda pods: container_status(pods[0])["restartCount"] == 1 and ready(1)(pods))
    assert pid_of(pod) != first
    assert container_status(pod)["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    events = await cluster.list(EVENTS, namespace=NAMESPACE, timeout_s=WAIT_S)
    assert "CrashLoopBackOff" not in str(pod), "the first restart comes at once"
    assert [row["count"] for row in events.items if row["reason"] == "Started"] == [2]


async def test_restarts_are_backed_off_further_and_further(region: Region, cluster: KubernetesCluster) -> None:
    crash = shell("date +%s.%N >> /data/starts; exit 3", **DATA_MOUNT)
    region.write_manifests(workload("StatefulSet", "web", crash, volumeClaimTemplates=CLAIM))
    await region.start()
    await until(cluster, PODS, lambda pods: bool(pods) and container_status(pods[0])["restartCount"] >= 4)
    starts = region.directory / "volumes" / NAMESPACE / "data-web-0" / "starts"
    await so(lambda: starts.read_text().count("\n") >= 5)
    at_s = [float(line) for line in starts.read_text().split()]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(at_s)]
    assert gaps_s[1] >= 0.2
    assert gaps_s[2] >= 0.4
    assert gaps_s[3] >= 0.8
    (pod,) = await until(cluster, PODS, lambda pods: "waiting" in container_status(pods[0])["state"])
    status = container_status(pod)
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 3
    await until(cluster, EVENTS, lambda rows: any(row["reason"] == "BackOff" for row in rows))


async def test_a_program_that_does_not_exist_is_said_so(region: Region, cluster: KubernetesCluster) -> None:
    pod = {"containers": [{"name": "main", "command": ["no-such-program"]}]}
    region.write_manifests(workload("Deployment", "web", pod))
    await region.start()
    await until(cluster, EVENTS, lambda rows: any("no-such-program" in row["message"] for row in rows))


async def test_readiness_decides_who_is_in_the_endpoints(region: Region, cluster: KubernetesCluster) -> None:
    probe = {"exec": {"command": ["test", "-f", "/data/ready"]}, "failureThreshold": 1}
    spec = shell("exec sleep 1000", readinessProbe=probe, **DATA_MOUNT)
    region.write_manifests(workload("StatefulSet", "web", spec, volumeClaimTemplates=CLAIM), service("web"))
    await region.start()
    (endpoints,) = await until(cluster, ENDPOINTS, lambda rows: "notReadyAddresses" in str(rows))
    assert "addresses" not in endpoints["subsets"][0]
    flag = region.directory / "volumes" / NAMESPACE / "data-web-0" / "ready"
    await so(flag.parent.exists)
    flag.touch()
    (endpoints,) = await until(cluster, ENDPOINTS, lambda rows: "'addresses'" in str(rows))
    assert endpoints["subsets"][0]["addresses"][0]["ip"] == f"127.10.{region.index}.10"
    flag.unlink()
    await until(cluster, ENDPOINTS, lambda rows: "notReadyAddresses" in str(rows))


async def test_http_and_tcp_probes(region: Region, cluster: KubernetesCluster) -> None:
    spec = {
        "containers": [
            {
                "name": "main",
                "command": ["python", "-m", "http.server", "8000", "--bind", "$(POD_IP)"],
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "ports": [{"name": "http", "containerPort": 8000}],
                "startupProbe": {"tcpSocket": {"port": 8000}, "failureThreshold": 300},
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": 10},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": 10},
            }
        ]
    }
    region.write_manifests(workload("Deployment", "web", spec, replicas=2), service("web"))
    await region.start()
    pods = await until(cluster, PODS, ready(2))
    assert len({pod["status"]["podIP"] for pod in pods}) == 2


async def test_a_failing_liveness_probe_restarts(region: Region, cluster: KubernetesCluster) -> None:
    probe = {"exec": {"command": ["test", "!", "-f", "/data/sick"]}, "failureThreshold": 2}
    probe |= {"timeoutSeconds": 10, "periodSeconds": 0.1}
    spec = shell("rm -f /data/sick; touch /data/well; exec sleep 1000", livenessProbe=probe, **DATA_MOUNT)
    region.write_manifests(workload("StatefulSet", "web", spec, volumeClaimTemplates=CLAIM))
    await region.start()
    await until(cluster, PODS, ready(1))
    data = region.directory / "volumes" / NAMESPACE / "data-web-0"
    # Without a readiness probe it is ready before its first command has run: that must not make it well again.
    await so((data / "well").exists)
    (data / "sick").touch()
    await until(cluster, PODS, lambda pods: container_status(pods[0])["restartCount"] >= 1 and ready(1)(pods))
    rows = (await cluster.list(EVENTS, namespace=NAMESPACE, timeout_s=WAIT_S)).items
    assert {"Unhealthy", "Killing"} <= {row["reason"] for row in rows}


async def test_claims_outlive_pods_and_the_region(region: Region, cluster: KubernetesCluster) -> None:
    spec = shell("echo . >> /data/starts; exec sleep 1000", **DATA_MOUNT)
    region.write_manifests(workload("StatefulSet", "web", spec, volumeClaimTemplates=CLAIM))
    await region.start()
    (first,) = await until(cluster, PODS, ready(1))
    starts = region.directory / "volumes" / NAMESPACE / "data-web-0" / "starts"
    # A pod without a readiness probe is ready as soon as it runs, which may be before it has written anything.
    await so(lambda: starts.exists() and starts.read_text() == ".\n")
    await cluster.delete(PODS, "web-0", namespace=NAMESPACE, timeout_s=WAIT_S)
    uid = first["metadata"]["uid"]
    await until(cluster, PODS, lambda pods: ready(1)(pods) and pods[0]["metadata"]["uid"] != uid)
    await so(lambda: starts.read_text() == ".\n.\n")
    await region.kill()
    await region.start()
    (third,) = await until(cluster, PODS, ready(1))
    await so(lambda: starts.read_text() == ".\n.\n.\n")
    assert exists(pid_of(third))


SHOW = """
import json, os, stat, sys
files = {name: open(name).read() for name in sys.argv[1:] if os.path.isfile(name)}
modes = {name: oct(stat.S_IMODE(os.stat(name).st_mode)) for name in files}
seen = {"arguments": sys.argv[1:], "environment": dict(os.environ), "files": files, "modes": modes}
print(json.dumps(seen), flush=True)
import time
time.sleep(1000)
"""


async def test_what_a_container_sees(region: Region, cluster: KubernetesCluster) -> None:
    meta = {"namespace": NAMESPACE}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config", **meta},
        "data": {"settings.json": '{"key": "/etc/identity/tls.key"}', "COLOUR": "blue"},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "identity", **meta},
        "stringData": {"tls.key": "a secret"},
    }
    database = workload(
        "StatefulSet", "db", shell("exec sleep 1000"), annotations={"leeward.dev/pod-address": "127.10.9.9"}
    )
    spec = {
        "containers": [
            {
                "name": "main",
                "command": ["python", "-c", SHOW],
                "args": ["/etc/config/s.json", "--key=/etc/identity/tls.key", "/etc/identity/tls.key", "$(URL)"],
                "envFrom": [{"configMapRef": {"name": "config"}, "prefix": "C_"}],
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "identity", "key": "tls.key"}}},
                    {"name": "URL", "value": "http://$(POD_IP):8000"},
                    {"name": "DATABASE", "value": f"host=db.{NAMESPACE}.svc port=5432"},
                    {"name": "DIRS", "value": "/etc/config:/scratch"},
                ],
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/config"},
                    {"name": "identity", "mountPath": "/etc/identity"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "config", "items": [{"key": "settings.json", "path": "s.json"}]}},
            {"name": "identity", "secret": {"secretName": "identity"}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }  # fmt: skip
    region.write_manifests(config, secret, database, service("db"), workload("Deployment", "web", spec))
    await region.start("--engine", "postgres=/opt/pg/bin", environment={"CALLERS_SECRET": "hands off"})
    (pod,) = await until(cluster, PODS, ready(1), labels="app=web")
    name = pod["metadata"]["name"]
    log = region.directory / "logs" / NAMESPACE / name / "main.log"
    await so(lambda: log.read_text().endswith("\n"))
    seen = json.loads(await log_of(cluster, name))
    home = region.home_of(pod)
    key, settings = f"{home}/identity/tls.key", f"{home}/config/s.json"
    own = f"127.10.{region.index}.10"
    assert seen["arguments"] == [settings, f"--key={key}", key, f"http://{own}:8000"]
    assert seen["files"] == {settings: json.dumps({"key": key}), key: "a secret"}
    assert seen["modes"][key] == "0o600"
    environment = seen["environment"]
    assert environment["C_COLOUR"] == "blue"
    assert environment["POD_NAME"] == environment["HOSTNAME"] == name
    assert environment["KEY"] == "a secret"
    assert environment["DATABASE"] == "host=127.10.9.9 port=5432"
    assert environment["DIRS"] == f"{home}/config:{home}/scratch"
    assert environment["LEEWARD_POSTGRES_BIN"] == "/opt/pg/bin"
    assert environment["HOME"] == str(home)
    assert "CALLERS_SECRET" not in environment


LINKS = """
import json, os, sys
home = sys.argv[1]
while True:
    with open(os.path.join(home, "..data", "tls.crt")) as one, open(os.path.join(home, "..data", "tls.key")) as other:
        pair = one.read(), other.read()
    if len(set(pair)) != 1:
        # A link that was exchanged between the two: the kernel resolves each by itself.
        continue
    with open(os.path.join(os.environ["HOME"], "seen.new"), "w") as file:
        json.dump([*pair, sorted(os.listdir(home))], file)
    os.replace(os.path.join(os.environ["HOME"], "seen.new"), os.path.join(os.environ["HOME"], "seen"))
"""


def pair_of(text: str, **more: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "identity", "namespace": NAMESPACE},
        "stringData": {"tls.crt": text, "tls.key": text, **more},
    }


async def test_a_secret_that_changes_in_the_manifests_reaches_a_running_pod(
    region: Region, cluster: KubernetesCluster
) -> None:
    spec = {
        "containers": [
            {
                "name": "main",
                "command": ["python", "-c", LINKS, "/etc/identity"],
                "volumeMounts": [{"name": "identity", "mountPath": "/etc/identity"}],
            }
        ],
        "volumes": [{"name": "identity", "secret": {"secretName": "identity"}}],
    }
    deployment = workload("Deployment", "web", spec)
    region.write_manifests(pair_of("first", extra="x"), deployment)
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1), labels="app=web")
    seen = region.home_of(pod) / "seen"

    def shows(text: str, *names: str) -> bool:
        if not seen.exists():
            return False
        *pair, listed = json.loads(seen.read_text())
        own = [name for name in listed if name.startswith("..")]
        # The link and the files, nothing older: that is removed a moment after the link has changed.
        return pair == [text, text] and {*listed} - {*own} == {*names} and len(own) == 2

    await so(lambda: shows("first", "tls.crt", "tls.key", "extra"))
    # What is no Secret is changed at the API server only.
    region.write_manifests(pair_of("second"), workload("Deployment", "web", spec, replicas=2))
    await so(lambda: shows("second", "tls.crt", "tls.key"))
    (same,) = await until(cluster, PODS, ready(1), labels="app=web")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]
    assert same["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_pod_waits_for_its_secret_and_files_follow_it(region: Region, cluster: KubernetesCluster) -> None:
    spec = shell("exec sleep 1000", volumeMounts=[{"name": "s", "mountPath": "/s"}])
    spec["volumes"] = [{"name": "s", "secret": {"secretName": "late"}}]
    region.write_manifests(workload("Deployment", "web", spec))
    await region.start()
    await until(cluster, EVENTS, lambda rows: any('secret "late" not found' in row["message"] for row in rows))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "late", "namespace": NAMESPACE},
        "stringData": {"k": "1"},
    }
    await cluster.apply(secret, timeout_s=WAIT_S)
    (pod,) = await until(cluster, PODS, ready(1))
    file = region.home_of(pod) / "s" / "k"
    assert file.read_text() == "1"
    await cluster.apply({**secret, "stringData": {"k": "2"}}, timeout_s=WAIT_S)
    await so(lambda: file.read_text() == "2")


DAEMON = "setsid sh -c 'echo $$$$ > /data/daemon; exec sleep 1000' & sleep 0.1 & echo started; exec sleep 1000"


async def test_orphans_are_reaped_and_end_with_their_pod(region: Region, cluster: KubernetesCluster) -> None:
    spec = shell("(sleep 0.2 &) ; " + DAEMON, **DATA_MOUNT)
    region.write_manifests(workload("StatefulSet", "web", spec, volumeClaimTemplates=CLAIM))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    file = region.directory / "volumes" / NAMESPACE / "data-web-0" / "daemon"
    await so(lambda: file.exists() and file.read_text().strip() != "")
    daemon, main = int(file.read_text()), pid_of(pod)
    assert region.process is not None
    tasks = Path(f"/proc/{region.process.pid}/task/{region.process.pid}/children")
    await so(lambda: tasks.read_text().split() == [str(main)])  # the sleeping orphan was ours for a moment
    os.kill(main, signal.SIGKILL)
    await so(lambda: not exists(daemon))
    await until(cluster, PODS, lambda pods: container_status(pods[0])["restartCount"] == 1 and ready(1)(pods))


async def test_sigterm_leaves_nothing(region: Region, cluster: KubernetesCluster) -> None:
    stubborn = shell("trap '' TERM; echo $$$$ > /data/main; " + DAEMON, **DATA_MOUNT)
    region.write_manifests(
        workload("StatefulSet", "web", stubborn, volumeClaimTemplates=CLAIM),
        workload("Deployment", "other", shell("exec sleep 1000"), replicas=2),
    )
    await region.start()
    pods = await until(cluster, PODS, ready(3))
    daemon = region.directory / "volumes" / NAMESPACE / "data-web-0" / "daemon"
    await so(lambda: daemon.exists() and daemon.read_text().strip() != "")
    pids = [pid_of(pod) for pod in pods] + [int(daemon.read_text())]
    assert await region.stop() == 0
    assert [pid for pid in pids if exists(pid)] == []
    assert list((region.directory / "pods").iterdir()) == []
    assert list((region.directory / "logs" / NAMESPACE).iterdir()) != []


async def test_a_lost_region_takes_its_containers_along(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", shell("exec sleep 1000")))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    await region.kill()
    await so(lambda: not exists(pid_of(pod)))


async def test_containers_of_a_pod_run_after_its_init_containers(region: Region, cluster: KubernetesCluster) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    spec = shell("cat /shared/made; exec sleep 1000", **mount)
    spec["initContainers"] = [{"name": "first", "command": ["sh", "-c", "echo made > /shared/made"], **mount}]
    spec["volumes"] = [{"name": "shared", "emptyDir": {}}]
    region.write_manifests(workload("Deployment", "web", spec))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    log = region.directory / "logs" / NAMESPACE / pod["metadata"]["name"] / "main.log"
    await so(lambda: log.read_text() == "made\n")
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


async def test_logs_follow_tail_and_previous(region: Region, cluster: KubernetesCluster) -> None:
    spec = shell(
        "echo one; echo two; while ! test -f /data/go; do sleep 0.05; done; echo three; rm /data/go", **DATA_MOUNT
    )
    region.write_manifests(workload("StatefulSet", "web", spec, volumeClaimTemplates=CLAIM))
    await region.start()
    await until(cluster, PODS, ready(1))
    with pytest.raises(RejectedError, match="previous"):
        await log_of(cluster, "web-0", previous=True)
    text = b""
    go = region.directory / "volumes" / NAMESPACE / "data-web-0" / "go"
    async with asyncio.timeout(WAIT_S):
        async for piece in cluster.logs("web-0", namespace=NAMESPACE, follow=True, timeout_s=WAIT_S):
            text += piece
            if text == b"one\ntwo\n":
                assert await log_of(cluster, "web-0", tail_lines=1) == "two\n"
                go.touch()
    assert text == b"one\ntwo\nthree\n"
    await until(cluster, PODS, lambda pods: container_status(pods[0])["restartCount"] == 1)
    assert await log_of(cluster, "web-0", previous=True) == "one\ntwo\nthree\n"


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


async def test_it_stays_small(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", shell("exec sleep 1000"), replicas=4), service("web"))
    await region.start()
    await until(cluster, PODS, ready(4))
    assert region.process is not None
    assert resident_kib(region.process.pid) <= 45 * 1024


def test_it_says_what_is_wrong_with_a_manifest(tmp_path: Path) -> None:
    from subprocess import run

    from tests.kit.certificates import Authority
    from tests.world.kubernetes.region import NAME

    Authority().issue(NAME, tmp_path / "identity")
    (tmp_path / "token").write_text("token")
    (tmp_path / "manifests").mkdir()
    lost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lost", "namespace": "nowhere"}}
    (tmp_path / "manifests" / "00.json").write_text(json.dumps([lost]))
    command = [sys.executable, "-m", "leeward.world.kubernetes.main", "--region", NAME, "--index", "250"]
    command += ["--directory", str(tmp_path), "--listen", "127.10.250.1:6443"]
    command += ["--token-file", str(tmp_path / "token"), "--identity", str(tmp_path / "identity")]
    ended = run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert 'ConfigMap lost: namespaces "nowhere" not found' in ended.stderr
