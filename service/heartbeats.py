"""Write the worker's heartbeats into the log while it runs."""

import asyncio
import logging

from eventlog.errors import LogUnavailable
from eventlog.heartbeats import TICK_US, Heartbeats
from eventlog.log import Appender

_logger = logging.getLogger(__name__)


async def beat_periodically(heartbeats: Heartbeats, writer: Appender) -> None:
    """Write what is due forever; skip it while the disk has space for requests alone."""
    while True:
        await asyncio.sleep(TICK_US / 1e6)
        if writer.full:
            continue
        try:
            heartbeats.tick()
        except LogUnavailable as error:
            _logger.warning("no heartbeats: %s", error)


def end_heartbeats(heartbeats: Heartbeats) -> None:
    """State that the worker has ended."""
    try:
        heartbeats.end()
    except LogUnavailable as error:
        _logger.warning("no last heartbeats: %s", error)
