"""Run one command so that the death of its parent ends all of it at once.

    python -S -m leeward.instance.postgres.init PARENT namespace|plain COUNT HIDDEN... COMMAND...

With ``namespace`` there are two of these processes. The outer one is a child of the instance manager, the
inner one is pid 1 of a pid namespace and the parent of the command. When the manager dies, the
parent-death signal kills the outer, then the inner one, and the kernel kills everything inside, even
what is stopped. The same happens when the outer one is killed, which is what the guard does.
COUNT is the number of paths before the command. The command and its children find these paths empty,
because PostgreSQL runs what an application has written. With ``plain`` (where the kernel refuses
namespaces) only the command itself is tied to its parent.

Signals sent to the outer process reach the command; its exit status becomes theirs.
Standard library only: site-packages are not loaded, which makes it start in some 15 ms.
"""

import os
import select
import signal
import sys

from leeward.kit.kernel import adopt_orphans, die_with_parent, enter_user_namespace, hide, run_as_usual

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_BLOCKED = (*FORWARDED, signal.SIGCHLD)
_LOST_PARENT = 70


def main(arguments: list[str]) -> int:
    """Start the command below this process and return its exit status (128 + n for a signal)."""
    parent, mode, count, *paths = arguments
    hidden, command = paths[: int(count)], paths[int(count) :]
    die_with_parent()
    if os.getppid() != int(parent):
        return _LOST_PARENT
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    if mode == "plain":
        adopt_orphans()
        return _supervise(_spawn(command, tied=True))
    enter_user_namespace(new_pids=True, new_mounts=bool(hidden))
    for path in hidden:
        hide(path)
    # The parent is pid 0 in there, so its death in between is seen as the end of this pipe.
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(reader)
        return _supervise(first)
    os.close(writer)
    die_with_parent()
    if select.select([reader], [], [], 0)[0]:
        return _LOST_PARENT
    os.close(reader)
    return _supervise(_spawn(command, tied=False))


def _spawn(command: list[str], *, tied: bool) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    if tied:
        die_with_parent()
        # Killed since the fork, it sends no signal any more.
        if os.getppid() != parent:
            os._exit(_LOST_PARENT)
    # This process stays as far ahead as the manager: PostgreSQL ends when it does.
    run_as_usual()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    try:
        os.execv(command[0], command)
    finally:
        os._exit(127)


def _supervise(child: int) -> int:
    while True:
        received = signal.sigwait(_BLOCKED)
        if received != signal.SIGCHLD:
            os.kill(child, received)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
