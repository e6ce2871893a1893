"""Start a program as pid 1 of its own pid namespace, inside a network, dying with its parent.

Always true: the new process is a direct child of the caller, is never root where it has a shelter, and is gone with
everything it started when the caller is (its parent-death signal is SIGKILL, and a pid namespace ends with its pid 1).
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from leeward.kit import kernel
from leeward.world import namespaces, users
from leeward.world.namespaces import Isolation
from leeward.world.shelter import Shelter

SYS_CLONE3 = 435  # the same on every architecture
EXIT_CANNOT_START = 127


class _CloneArguments(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


def start(
    command: Sequence[str],
    *,
    isolation: Isolation,
    network: int | None,
    shelter: Shelter | None,
    directory: str,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
) -> int:
    """Start the program and return its pid. Raises OSError when the kernel refuses a new process.

    Call it from the main thread of a process without other threads: the parent-death signal follows the
    thread. A program that cannot be executed exits with status 127 and prints the reason to ``stderr``.
    """
    parent = os.pidfd_open(os.getpid())
    try:
        pid = _fork(0 if isolation is Isolation.SHARED else kernel.CLONE_NEWPID)
        if pid == 0:
            _become(command, network, shelter, directory, environment, stdout, stderr, parent)
    finally:
        os.close(parent)
    return pid


def _fork(flags: int) -> int:
    """Like os.fork, with flags of clone3. No unshare before a fork: that would need an intermediate process."""
    arguments = _CloneArguments(flags=flags, exit_signal=int(signal.SIGCHLD))
    libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the interpreter's lock, as os.fork does
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    code = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"cannot start a process in its own pid namespace: {os.strerror(code)}")
    return pid


def _become(
    command: Sequence[str],
    network: int | None,
    shelter: Shelter | None,
    directory: str,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    parent: int,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        if network is not None:
            namespaces.move_to_network(network)
        if shelter is not None:
            shelter.enter()
        kernel.die_with_parent()
        end_if_orphaned(parent)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        os.chdir(directory)
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        os.write(stderr, f"cannot start {command[0]}: {error}\n".encode())
    finally:
        os._exit(EXIT_CANNOT_START)


def end_if_orphaned(parent: int) -> None:
    """End this process when its parent, given as a pidfd, died before the death signal was set."""
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    if poll.poll(0):
        os._exit(EXIT_CANNOT_START)


def _probe(isolation: Isolation) -> None:
    """Do what a world does, once, with a program that does nothing. Raises OSError."""
    outside = users.outside_ids("/", 1)
    namespaced = isolation is Isolation.USER_NAMESPACE
    if namespaced:
        users.enter_user_namespace(outside)
    elif outside is None:
        raise PermissionError("not root")
    shelter = None
    if outside is not None:
        ids = outside[0] if namespaced else users.ordinary_user()
        shelter = Shelter(*ids, own_namespace=namespaced, covers=("/tmp",), openings=())
    pid = start(
        ["/bin/true"],
        isolation=isolation,
        network=namespaces.new_network(),
        shelter=shelter,
        directory="/",
        environment={},
        stdout=1,
        stderr=2,
    )
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise OSError(f"a program in its own namespaces ended with status {status}")


if __name__ == "__main__":
    try:
        _probe(Isolation(sys.argv[1]))
    except OSError as error:
        sys.exit(str(error))
