"""Stop a worker whose log was removed or replaced, because nothing would read its events."""

import asyncio
import logging
from collections.abc import Callable

from eventlog.segments import SegmentWriter

_logger = logging.getLogger(__name__)


async def end_without_log(
    writer: SegmentWriter, end: Callable[[], None], period_s: float = 1.0
) -> None:
    """Check periodically whether the log still exists; if not, call `end` and return.

    The next worker creates a new log with a new name.
    """
    next_sequence = writer.next_sequence
    while not writer.detached():
        next_sequence = writer.next_sequence
        await asyncio.sleep(period_s)
    _logger.error(
        "the log folder of %s was removed or replaced while the service wrote to it: up to %d "
        "events are lost; the worker stops, and the next worker creates a new log",
        writer.source,
        writer.next_sequence - next_sequence,
    )
    end()
