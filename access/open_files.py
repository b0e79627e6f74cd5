"""Limit connections by the number of files that the process can open."""

import resource

OWN_FILES = 160  # measured open files of a process without connections, plus a reserve
_FEWEST = 16


def allow_open_files() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def affordable_connections(requested: int, *, ports: int, allowed: int) -> int:
    """Return how many connections each of `ports` can have if `allowed` files can be open."""
    return max(_FEWEST, min(requested, (allowed - OWN_FILES) // ports))
