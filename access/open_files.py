"""Limit connections by the number of files that the process may open."""

import resource

OWN_FILES = 160  # files of a process: log, models, database, libraries; measured plus a reserve
_FEWEST = 16


def allow_open_files() -> int:
    """Raise the soft limit to the hard one; return the number of files that may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def affordable_connections(requested: int, *, ports: int, allowed: int) -> int:
    """Return how many connections each of `ports` may have where `allowed` files may be open."""
    return max(_FEWEST, min(requested, (allowed - OWN_FILES) // ports))
