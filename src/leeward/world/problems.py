"""What can go wrong with a world, each with its fix."""

import errno

from leeward.base.problem import Problem, ProblemsError


def refusal(code: str, where: str, what: str, why: str, fix: str) -> ProblemsError:
    """Return an error of one problem, to raise."""
    return ProblemsError([Problem(code=code, where=where, what=what, why=why, fix=fix)])


def from_os_error(error: OSError, where: str) -> ProblemsError:
    """Return what an error of the operating system means for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return refusal(
            "disk-full",
            where,
            "the disk is full",
            f"{error}; three regions write a few hundred MiB",
            "free space there, or set LEEWARD_HOME to a directory on another disk",
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return refusal(
            "too-many-files",
            where,
            "the limit of open files is reached",
            str(error),
            "raise it (ulimit -n 65536) and run the command again",
        )
    return refusal(
        "world-io",
        where,
        "the operating system refused something the world needs",
        str(error),
        "run `leeward doctor`, fix the cause given above, and run the command again",
    )


def no_such_region(name: str, known: tuple[str, ...]) -> ProblemsError:
    """Return the error for a region that the world does not have."""
    return refusal(
        "unknown-region",
        f"region {name}",
        f"this world has no region {name}",
        f"its regions are {', '.join(known)}",
        "name one of them",
    )


def of_earlier_version(name: str) -> ProblemsError:
    """Return the error for a world whose authorities' keys were not kept."""
    return refusal(
        "world-of-earlier-version",
        f"world {name}",
        "the world was started by an earlier version of leeward, which did not keep its authorities",
        "this version has an authority for each purpose, and renews certificates with its key",
        f"leeward down --world {name}, then leeward up",
    )
