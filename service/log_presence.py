"""End a worker whose log was removed or replaced: no reader would ever see what it writes."""

import asyncio
import logging
from collections.abc import Callable

from eventlog.segments import SegmentWriter

_logger = logging.getLogger(__name__)


async def end_without_log(
    writer: SegmentWriter, end: Callable[[], None], period_s: float = 1.0
) -> None:
    """Look for the log periodically; call `end` once it is gone.

    The worker that follows begins a new log, under a new name.
    """
    next_sequence = writer.next_sequence
    while not writer.detached():
        next_sequence = writer.next_sequence
        await asyncio.sleep(period_s)
    _logger.error(
        "the log folder of %s was removed or replaced while the service wrote to it: at most the "
        "last %d events are in no log; the worker ends, and the next one begins a new log",
        writer.source,
        writer.next_sequence - next_sequence,
    )
    end()
