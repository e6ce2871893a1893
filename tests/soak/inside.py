"""Print what a URL answers inside a region's network: ``python -m tests.soak.inside PID URL``.

PID is any process of the region. A process of its own, because one that has threads cannot change its user namespace.
"""

import ctypes
import os
import sys
import urllib.request

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TIMEOUT_S = 30.0


def enter(pid: str) -> None:
    """Join the network of a process, through its user namespace when that is not ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Root enters a network directly; others have rights only in the user namespace that they made.
    kinds = [("net", CLONE_NEWNET)] if os.geteuid() == 0 else [("user", CLONE_NEWUSER), ("net", CLONE_NEWNET)]
    handles = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), name, kind) for name, kind in kinds]
    for handle, name, kind in handles:
        if os.fstat(handle).st_ino != os.stat(f"/proc/self/ns/{name}").st_ino and libc.setns(handle, kind):
            raise OSError(ctypes.get_errno(), f"cannot enter the {name} namespace of process {pid}")


if __name__ == "__main__":
    enter(sys.argv[1])
    with urllib.request.urlopen(sys.argv[2], timeout=TIMEOUT_S) as response:
        sys.stdout.buffer.write(response.read())
