"""Publish the reports of workers to all machines that share the registry's database.

On one machine, `worker_reports.py` detects exactly which workers run. For other machines, a worker
repeats its report every few seconds. If the repetitions stop, the worker no longer counts.
"""

import asyncio
import logging
import os
import secrets
import socket

import msgspec
from msgspec.structs import replace

from registry.errors import RegistryUnavailable
from registry.history.store import History
from registry.worker_reports import WorkerReport

_BEAT_S = 5.0  # seconds between repetitions
_RETRY_S = 1.0  # seconds until a retry after a failure

_logger = logging.getLogger(__name__)


class SharedReportPublisher:
    """Publish the reports of one worker to all machines; belongs to one event loop."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._machine = socket.gethostname()
        self._name = f"{self._machine}-{os.getpid()}-{secrets.token_hex(4)}"
        self._report = WorkerReport()
        self._changed = asyncio.Event()
        self._lost = False

    def publish(self, report: WorkerReport) -> None:
        """Replace the report; `repeat` writes it."""
        self._report = replace(report, machine=self._machine)
        self._changed.set()

    async def repeat(self, beat: float = _BEAT_S) -> None:
        """Write the report after each change, and at least every `beat` seconds, forever."""
        while True:
            self._changed.clear()
            await asyncio.to_thread(self._write)
            try:
                pause = min(beat, _RETRY_S) if self._lost else beat
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue

    def close(self) -> None:
        """Remove the report."""
        try:
            self._history.remove_worker(self._name)
        except RegistryUnavailable as error:
            _logger.warning("%s; other machines still count this worker for some seconds", error)

    def _write(self) -> None:
        body = msgspec.json.encode(self._report).decode()
        try:
            self._history.report_worker(self._name, body)
        except RegistryUnavailable as error:
            if not self._lost:
                _logger.warning("%s; other machines do not count this worker", error)
            self._lost = True
        else:
            self._lost = False
