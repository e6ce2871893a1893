"""Landlock: a process that gives up reaching processes outside of its own descendants."""

import ctypes
import os

from leeward.kit import kernel

SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
LANDLOCK_VERSION = 1
LANDLOCK_SCOPES = 6
"""The version of Landlock that knows scopes: Linux 6.12."""
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2


class _Ruleset(ctypes.Structure):
    _fields_ = [("access_fs", ctypes.c_uint64), ("access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def can_keep_to_itself() -> bool:
    """Return whether the kernel offers what ``keep_to_itself`` needs."""
    found = kernel.LIBC.syscall(
        SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(LANDLOCK_VERSION)
    )
    return bool(found >= LANDLOCK_SCOPES)


def keep_to_itself() -> None:
    """Keep this process and its descendants from signalling and tracing other processes, whatever user these are.

    So it also cannot read their memory or environment, nor connect to their abstract unix sockets. Processes outside
    may still signal it. It can gain no privileges afterwards. Raises OSError.
    """
    ruleset = _Ruleset(scoped=SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET)
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    handle = kernel.LIBC.syscall(SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), size, ctypes.c_uint32(0))
    if handle < 0:
        kernel.check(handle, "make a Landlock ruleset")
    try:
        kernel.gain_no_privileges()
        kernel.check(
            kernel.LIBC.syscall(SYS_LANDLOCK_RESTRICT_SELF, handle, ctypes.c_uint32(0)), "enter a Landlock domain"
        )
    finally:
        os.close(handle)
