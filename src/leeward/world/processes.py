"""The processes of one region, found from its pid 1 downwards, through every nested pid namespace."""

import itertools
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import PurePath

STOPPED_OR_DEAD = frozenset("TtZX")
"""Process states (the kernel's letters) in which no other process can be started."""


def _runs(*names: str) -> Callable[[list[str]], bool]:
    """Match the program's name; PostgreSQL's children call themselves ``postgres: ...``."""
    return lambda arguments: PurePath(arguments[0].split(":")[0].split(" ")[0]).name in names


def _module(package: str) -> Callable[[list[str]], bool]:
    return lambda arguments: any(
        flag == "-m" and (module == package or module.startswith(f"{package}."))
        for flag, module in itertools.pairwise(arguments)
    )


MATCHES: Mapping[str, Callable[[list[str]], bool]] = {
    "postgres": _runs("postgres"),
    "instance-manager": _module("leeward.instance"),
    "agent": _module("leeward.agent"),
    "etcd": _runs("etcd"),
    "gateway": _runs("envoy"),
}


def tree(root: int) -> list[int]:
    """Return the pid and those of all its descendants, parents first. Without those that are gone."""
    found = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        children = _children(pid)
        if children is not None:
            found.append(pid)
            waiting += children
    return found


def matching(root: int, match: str) -> list[int]:
    """Return the processes below a region's pid 1 that ``MATCHES`` selects.

    Of a program that forks itself, only the first; but all of PostgreSQL, which is many, and of an agent the child that
    does its work (leeward.agent.runtime.restarting).
    """
    found: list[int] = []
    waiting = _children(root) or []
    while waiting:
        pid = waiting.pop()
        children = _children(pid) or []
        arguments = _arguments(pid)
        if arguments and MATCHES[match](arguments):
            workers = [child for child in children if state(child) not in "ZX"] if match == "agent" else []
            if workers:
                found += workers
                continue
            found.append(pid)
            if match != "postgres":
                continue
        waiting += children
    return found


def send(pids: list[int], number: signal.Signals) -> list[int]:
    """Signal those that are still there and return them."""
    reached = []
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        reached.append(pid)
    return reached


def state(pid: int) -> str:
    """Return the kernel's letter for a process; ``X`` when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _children(pid: int) -> list[int] | None:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return None
    children = []
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children += [int(child) for child in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return children


def _arguments(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [part.decode(errors="replace") for part in file.read().split(b"\0") if part]
    except (FileNotFoundError, ProcessLookupError):
        return []
