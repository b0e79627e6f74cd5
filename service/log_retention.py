"""Delete expired segments; every worker checks the whole log."""

import asyncio
import logging

from eventlog.errors import DriftlineError
from eventlog.retention import sweep
from eventlog.settings import Home, LogSettings
from telemetry.steady_clock import SteadyClock

_logger = logging.getLogger(__name__)


async def sweep_periodically(home: Home, settings: LogSettings) -> None:
    """Delete expired segments forever; log failures and retry."""
    clock = SteadyClock()  # because a wrong system clock must not expire segments too early
    while settings.retain_bytes or settings.retain_seconds:
        try:
            deleted = await asyncio.to_thread(sweep, home, settings, clock() / 1e6)
        except (DriftlineError, OSError) as error:
            _logger.warning("cannot delete expired segments; retrying: %s", error)
        else:
            if deleted:
                _logger.info("deleted %d expired segments", len(deleted))
        await asyncio.sleep(settings.sweep_seconds)
