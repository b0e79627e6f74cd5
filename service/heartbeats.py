"""Write the worker's heartbeats into the log while it runs, and the history's heads."""

import asyncio
import logging
from typing import Protocol

from eventlog.errors import LogUnavailable
from eventlog.heartbeats import TICK_US, Heartbeats
from eventlog.log import Appender
from registry.errors import RegistryError

_logger = logging.getLogger(__name__)


class HeadSource(Protocol):
    """The part of the registry's history that heads are read from."""

    def head(self) -> tuple[int, str]:
        """Return the latest revision and the chain after it."""
        ...


class HeadLog:
    """Write the history's head into the log whenever the worker follows a change of it.

    A head that cannot be written, for lack of space or of the history, comes with a later tick.
    """

    def __init__(self, history: HeadSource, heartbeats: Heartbeats, writer: Appender) -> None:
        self._history = history
        self._heartbeats = heartbeats
        self._writer = writer
        self._changed = asyncio.Event()
        self._revision = -1  # revision that the worker follows

    def follow(self, revision: int) -> None:
        """Record the registry revision that the worker has applied."""
        if revision not in {self._revision, 0}:  # an empty history has no head
            self._revision = revision
            self._changed.set()

    async def write(self) -> None:
        """Write the head of every change, forever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._heartbeats.follow(*await asyncio.to_thread(self._history.head))
                if not self._writer.full:
                    self._heartbeats.tick()
            except LogUnavailable as error:
                _logger.warning("the history's head is not logged yet: %s", error)
            except RegistryError as error:
                _logger.warning("the history's head is not logged yet: %s", error)
                await asyncio.sleep(TICK_US / 1e6)
                self._changed.set()


async def beat_periodically(heartbeats: Heartbeats, writer: Appender) -> None:
    """Write due heartbeats forever; skip them while the disk has space only for requests."""
    while True:
        await asyncio.sleep(TICK_US / 1e6)
        if writer.full:
            continue
        try:
            heartbeats.tick()
        except LogUnavailable as error:
            _logger.warning("no heartbeats: %s", error)


def end_heartbeats(heartbeats: Heartbeats) -> None:
    """Log the end of the worker."""
    try:
        heartbeats.end()
    except LogUnavailable as error:
        _logger.warning("no last heartbeats: %s", error)
