"""Delete expired segments of the log; every worker sweeps the whole log."""

import asyncio
import logging

from eventlog.errors import DriftlineError
from eventlog.retention import sweep
from eventlog.settings import Home, LogSettings
from telemetry.steady_clock import SteadyClock

_logger = logging.getLogger(__name__)


async def sweep_periodically(home: Home, settings: LogSettings) -> None:
    """Delete expired segments forever; log failures and retry."""
    clock = SteadyClock()  # a clock that is wrong for seconds must not delete what is not expired
    while settings.retain_bytes or settings.retain_seconds:
        try:
            gone = await asyncio.to_thread(sweep, home, settings, clock() / 1e6)
        except (DriftlineError, OSError) as error:
            _logger.warning("cannot delete old segments: %s", error)
        else:
            if gone:
                _logger.info("deleted %d expired segments", len(gone))
        await asyncio.sleep(settings.sweep_seconds)
