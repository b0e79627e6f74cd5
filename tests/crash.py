"""End processes without warning, and find the ones to end."""

import psutil


def serving_workers(supervisor: int) -> list[psutil.Process]:
    """Return the workers of `driftline serve`, by the pid of its supervisor."""
    return [
        child
        for child in psutil.Process(supervisor).children()
        if child.status() != psutil.STATUS_ZOMBIE and child.name() != "fork-server"
    ]
