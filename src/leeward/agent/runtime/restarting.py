"""Run a program as a child that has everything loaded, and start it again at once when it dies.

The agent renews a lease, and most of a Python program's start is loading its modules: longer than what is left of the
lease on a busy node. A child that is forked from a process that has loaded them is there in a tenth of that time.
A child that dies soon after it began has a lasting reason, so its exit status becomes this process's: whoever started
us knows how long to wait before the next attempt (kubelet's CrashLoopBackOff).

Always true: one child at a time; it dies with this process; SIGTERM and SIGINT are passed on to it.
"""

import gc
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable

import structlog

from leeward.kit import kernel
from leeward.ports.clock import Clock

STEADY_S = 5.0
"""A child that lived for less is not started again here,"""
RESTARTS_MAX, RESTARTS_IN_S = 6, 60.0
"""nor one that was so often in this time."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
WATCHED = (*PASSED_ON, signal.SIGCHLD)

log = structlog.get_logger()


def keep_running(program: Callable[[], None], clock: Clock, load: Callable[[], None]) -> int:
    """Run ``program`` in a child until SIGTERM, SIGINT or an early death; return the exit status for this process.

    ``load`` is called once, when the first child is steady: it loads what the program loads only when it needs it, so
    that the next ones have it. For a child that a signal killed the status is 128 plus its number. Call it from the
    main thread of a process without other threads. Raises OSError when the kernel refuses another process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    began_s = clock.now_s()
    child = _start(program)
    received = signal.sigtimedwait(WATCHED, STEADY_S)
    if received is None:
        _prepare(load)
    restarts: deque[float] = deque([-math.inf] * RESTARTS_MAX, RESTARTS_MAX)
    while True:
        stopping, status = _watch(child, received)
        now_s, received = clock.now_s(), None
        if stopping or now_s - began_s < STEADY_S or now_s - restarts[0] < RESTARTS_IN_S:
            return status
        log.warning("agent died; restarting it", exit_status=status)
        restarts.append(now_s)
        began_s = now_s
        child = _start(program)


def _prepare(load: Callable[[], None]) -> None:
    try:
        load()
    except (ImportError, OSError) as error:
        log.warning("failed to preload the agent's modules", because=str(error))
    # What is loaded is never garbage; the collector would write to, and so copy, every page of it in each child.
    gc.collect()
    gc.freeze()


def _start(program: Callable[[], None]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    kernel.die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    if os.getppid() != parent:
        sys.exit(1)  # it died before it could take us along
    program()
    sys.exit(0)


def _watch(child: int, received: signal.struct_siginfo | None) -> tuple[bool, int]:
    """Return whether a signal to stop was passed on, and the child's exit status. ``received``: one already taken."""
    stopping = False
    while True:
        received, taken = None, received or signal.sigwaitinfo(WATCHED)
        if taken.si_signo != signal.SIGCHLD:
            stopping = True
            os.kill(child, taken.si_signo)
            continue
        # One signal may stand for several children: as pid 1 of a container we have others' orphans, too.
        while (ended := _reaped()) is not None:
            pid, status = ended
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return stopping, code if code >= 0 else 128 - code


def _reaped() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
