"""System calls that Python's library lacks: namespaces, mounts, the parent-death signal, a timer that kills, priority.

Standard library only: PostgreSQL's ``init`` runs this before any package is importable.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_NOEXEC = 8
_MS_BIND = 4096
_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
_AHEAD_NICE = -10
ORDINARY_USER = 65534
"""Who root becomes inside its user namespace: PostgreSQL refuses uid 0."""

LIBC = ctypes.CDLL(None, use_errno=True)


class _TimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class _SignalEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    )


def check(result: int, what: str) -> None:
    """Raise OSError with the call's reason unless it returned 0. ``what`` completes "cannot ..."."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def boot_clock_s() -> float:
    """Return seconds of CLOCK_BOOTTIME, the clock of every lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_clock_s() -> float:
    """Return seconds of CLOCK_REALTIME, which hosts and NTP set."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def run_ahead() -> bool:
    """Have the kernel prefer this process, and what it starts, to ordinary ones; False where it does not permit that.

    Call it before any thread starts, and before ``enter_user_namespace``, after which root may not any more.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _AHEAD_NICE)
    except PermissionError:
        return False
    return True


def run_as_usual() -> None:
    """Give up what ``run_ahead`` brought."""
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that made it ends.

    Forked children do not inherit it, and a change of user clears it.
    """
    _control(_PR_SET_PDEATHSIG, int(signal.SIGKILL), "set the parent-death signal")


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies, so that they can be reaped."""
    _control(_PR_SET_CHILD_SUBREAPER, 1, "become a subreaper")


def gain_no_privileges() -> None:
    """Keep this process and its descendants from gaining privileges, as by programs with the set-user-id bit."""
    _control(_PR_SET_NO_NEW_PRIVS, 1, "give up gaining privileges")


def _control(option: int, value: int, what: str) -> None:
    check(LIBC.prctl(option, value, 0, 0, 0), what)


def unshare(flags: int, what: str) -> None:
    """Move this process to new namespaces; ``what`` completes "cannot unshare ...". Raises OSError."""
    check(LIBC.unshare(flags), f"unshare {what}")


def enter_user_namespace(*, new_pids: bool, new_mounts: bool = False) -> None:
    """Move into a user namespace that maps this user to itself (root to an ordinary user).

    With ``new_pids`` the next child is pid 1 of a pid namespace. With ``new_mounts`` only this process and its children
    see what is mounted from now on. The process must have one thread. Raises OSError where the kernel or its
    policy refuses.
    """
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | (CLONE_NEWPID if new_pids else 0) | (CLONE_NEWNS if new_mounts else 0), "a user namespace")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user or ORDINARY_USER} {user} 1"),
        ("gid_map", f"{group or ORDINARY_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount. Raises OSError."""
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    check(LIBC.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]), f"mount {target}")


def hide(path: str) -> None:
    """Mount nothing over a directory, or a file. It takes a mount namespace of the process's own.

    Processes that are started from here cannot undo it: mounts that a user namespace has inherited are locked together
    (mount_namespaces(7)). Raises OSError.
    """
    if os.path.isdir(path):
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        mount("none", path, "tmpfs", flags, "size=4k,mode=0")
    else:
        mount("/dev/null", path, None, _MS_BIND)


def namespaces_work() -> bool:
    """Try a user and pid namespace in a child. Call it before any thread starts."""
    return _works(lambda: enter_user_namespace(new_pids=True))


def hiding_works(paths: Iterable[str]) -> bool:
    """Try in a child whether the kernel lets this user hide these. Call it before any thread starts."""

    def attempt() -> None:
        enter_user_namespace(new_pids=True, new_mounts=True)
        for path in paths:
            hide(path)

    return _works(attempt)


def _works(attempt: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class KillTimer:
    """A kernel timer that SIGKILLs this process at a time of the boot clock, even while it is stopped."""

    def __init__(self) -> None:
        self._timer = ctypes.c_void_p()
        event = _SignalEvent(None, int(signal.SIGKILL), _SIGEV_SIGNAL)
        check(LIBC.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)), "create a timer")

    def arm(self, at_s: float) -> None:
        """Fire at ``at_s``, at once when that is past; replaces what was armed before."""
        self._set(max(at_s, 1e-9))

    def disarm(self) -> None:
        """Do not fire."""
        self._set(0.0)

    def _set(self, at_s: float) -> None:
        seconds = int(at_s)
        spec = _TimerSpec(0, 0, seconds, int((at_s - seconds) * 1e9))
        check(LIBC.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(spec), None), "set a timer")
