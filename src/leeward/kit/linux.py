"""System calls that Python's library lacks: what a process asks Linux about itself and its descendants."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError with the call's reason unless it returned 0. ``what`` completes "cannot ..."."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends. Cleared by a change of user."""
    check(LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "set the parent-death signal")


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, to wait for them."""
    check(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")


def gain_no_privileges() -> None:
    """Keep this process and its descendants from gaining privileges, as by programs with the set-user-id bit."""
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up gaining privileges")
