"""System calls that Python's library lacks: what a process asks Linux about itself and its descendants."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
LANDLOCK_VERSION = 1
LANDLOCK_SCOPES = 6
"""The version of Landlock that knows scopes: Linux 6.12."""
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2

LIBC = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = [("access_fs", ctypes.c_uint64), ("access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


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


def can_keep_to_itself() -> bool:
    """Return whether the kernel offers what ``keep_to_itself`` needs."""
    found = LIBC.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(LANDLOCK_VERSION))
    return bool(found >= LANDLOCK_SCOPES)


def keep_to_itself() -> None:
    """Keep this process and its descendants from signalling and tracing other processes, whatever user these are.

    So it also cannot read their memory or environment, nor connect to their abstract unix sockets. Processes outside
    may still signal it. It can gain no privileges afterwards. Raises OSError.
    """
    ruleset = _Ruleset(scoped=SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET)
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    handle = LIBC.syscall(SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), size, ctypes.c_uint32(0))
    if handle < 0:
        check(handle, "make a Landlock ruleset")
    try:
        gain_no_privileges()
        check(LIBC.syscall(SYS_LANDLOCK_RESTRICT_SELF, handle, ctypes.c_uint32(0)), "enter a Landlock domain")
    finally:
        os.close(handle)
