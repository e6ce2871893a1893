"""What a region's programs see of the machine: mounts, a host name and control groups of their own.

Always true: nothing of it is left when the region's pid 1 ends, but for the control groups (``remove_groups``) and its
directory.
"""

import errno
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from leeward.kit import kernel
from leeward.world.clusters import addresses

CLONE_NEWUTS, CLONE_NEWIPC = 0x4000000, 0x8000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_SLAVE, MS_SHARED = 2, 4, 8, 0x1000, 0x4000, 0x80000, 0x100000
GROUPS = Path("/sys/fs/cgroup")
EMPTY = ("/run", "/var/lib")
"""Where programs of a node keep sockets and state; each region has its own."""
COMMAND_S = 10.0
REMOVE_S = 10.0
REMOVE_EVERY_S = 0.05
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def enter(directory: Path, name: str, kept: Sequence[Path]) -> None:
    """Move this process, pid 1 of its pid namespace, into mount, host name and IPC namespaces of its own.

    /run and /var/lib are empty but for ``directory`` and what of ``kept`` is there; /var/log is DIRECTORY/log. Raises
    OSError.
    """
    kernel.unshare(kernel.CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC, "the region's namespaces")
    socket.sethostname(name)
    kernel.mount(None, "/", None, MS_REC | MS_SLAVE)
    logs = directory / "log"
    logs.mkdir(exist_ok=True)
    hidden = [each for each in (directory, *kept) if any(each.is_relative_to(empty) for empty in EMPTY)]
    open_before = [(os.open(each, os.O_PATH | os.O_CLOEXEC), each) for each in hidden]
    kernel.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for empty in EMPTY:
        kernel.mount("tmpfs", empty, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for handle, path in open_before:
        path.mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{handle}", str(path), None, MS_BIND | MS_REC)
        os.close(handle)
    kernel.mount(str(logs), "/var/log", None, MS_BIND)
    # kubelet passes on what it mounts for a volume into the pods' own namespaces.
    kernel.mount(None, "/", None, MS_REC | MS_SHARED)
    for made in ("/run/netns", "/var/lib/cni", "/var/lib/kubelet"):
        Path(made).mkdir(parents=True)


def connect(ip: Path, index: int) -> None:
    """Give the region's network its addresses and let it pass packets on. Raises OSError."""
    if FORWARDING.read_text().strip() != "1":
        FORWARDING.write_text("1")
    _run(ip, "addr", "add", f"{addresses.node(index)}/32", "dev", "lo")
    _run(ip, "route", "add", "local", addresses.EVERYWHERE, "dev", "lo")
    # The node's own packets to a ClusterIP need a way out before kube-proxy changes where they go.
    _run(ip, "route", "add", addresses.SERVICES, "dev", "lo")


def make_groups(name: str) -> None:
    """Make a control group of that name for the pods of the region, under every controller. Raises OSError."""
    if _is_unified():
        controllers = (GROUPS / "cgroup.controllers").read_text().split()
        (GROUPS / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in controllers))
        (GROUPS / name).mkdir(exist_ok=True)
        return
    for controller in _controllers():
        (controller / name).mkdir(exist_ok=True)
    # A new group of this controller has no processors and no memory, and admits no process until it has.
    for allowed in ("cpuset.cpus", "cpuset.mems"):
        (GROUPS / "cpuset" / name / allowed).write_text((GROUPS / "cpuset" / allowed).read_text())


def remove_groups(name: str) -> None:
    """Remove the control groups of a region that has ended. Raises OSError if processes stay in one for 10 s."""
    deadline_s = time.monotonic() + REMOVE_S
    # runc makes one in the unified hierarchy of a hybrid system, too.
    for controller in (GROUPS,) if _is_unified() else (*_controllers(), GROUPS / "unified"):
        while (controller / name).exists():
            try:
                for directory, _, _ in os.walk(controller / name, topdown=False):
                    os.rmdir(directory)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline_s:
                    raise
                time.sleep(REMOVE_EVERY_S)


def _is_unified() -> bool:
    return (GROUPS / "cgroup.controllers").exists()


def _controllers() -> tuple[Path, ...]:
    """Return where each controller of the first version of control groups is mounted; several may share one place."""
    found = {}
    for each in sorted(GROUPS.iterdir()):
        with suppress(OSError):
            if (each / "cgroup.procs").exists() and each.name != "unified":
                found[each.stat().st_dev] = each
    return tuple(found.values())


def _run(program: Path, *arguments: str) -> None:
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode:
        raise OSError(f"{program.name} {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
