"""Every worker looks after the whole log: whichever looks first deletes what may go."""

import asyncio
import logging
import time

from eventlog.errors import DriftlineError
from eventlog.retention import sweep
from eventlog.settings import Home, LogSettings

_logger = logging.getLogger(__name__)


async def sweep_periodically(home: Home, settings: LogSettings) -> None:
    """Delete superfluous segments for ever; what goes wrong is logged and tried again."""
    while settings.retain_bytes or settings.retain_seconds:
        try:
            gone = await asyncio.to_thread(sweep, home, settings, time.time())
        except (DriftlineError, OSError) as error:
            _logger.warning("cannot delete old segments: %s", error)
        else:
            if gone:
                _logger.info("deleted %d segments that everybody has read", len(gone))
        await asyncio.sleep(settings.sweep_seconds)
