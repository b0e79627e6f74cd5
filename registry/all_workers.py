"""Read the reports of the workers that serve from a registry.

Every command that reads the registry imports this module, so it does not import asyncio.
"""

import msgspec

from eventlog.settings import Home
from registry.settings import is_shared, open_history
from registry.worker_reports import WorkerReport, read_workers


class AllWorkers:
    """Read the reports of running workers, of this machine or of all that share the registry."""

    def __init__(self, home: Home) -> None:
        self._folder = home.workers
        self._history = open_history(home) if is_shared() else None

    def read(self) -> list[WorkerReport]:
        """Return the reports; raises RegistryUnavailable if a shared database cannot be read."""
        if self._history is None:
            return read_workers(self._folder)
        return [msgspec.json.decode(b, type=WorkerReport) for b in self._history.workers()]
