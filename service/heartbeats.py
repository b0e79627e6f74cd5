"""Write heartbeats and the heads of the registry's history into a running worker's log."""

import asyncio
import logging
from typing import Protocol

from eventlog.errors import LogUnavailable
from eventlog.heartbeats import TICK_US, Heartbeats
from eventlog.log import Appender
from registry.errors import RegistryError

_logger = logging.getLogger(__name__)


class HeadSource(Protocol):
    """The part of the registry's history that returns the head."""

    def head(self) -> tuple[int, str]:
        """Return the latest revision and the chain hash after it."""
        ...


class HeadLog:
    """A writer of the history's head, which logs it after each registry change.

    If the disk is full or the history is unavailable, the head is written later.
    """

    def __init__(self, history: HeadSource, heartbeats: Heartbeats, writer: Appender) -> None:
        self._history = history
        self._heartbeats = heartbeats
        self._writer = writer
        self._changed = asyncio.Event()
        self._revision = -1  # revision that the worker has applied

    def follow(self, revision: int) -> None:
        """Record the registry revision that the worker has applied."""
        if revision not in {self._revision, 0}:  # an empty history has no head
            self._revision = revision
            self._changed.set()

    async def write(self) -> None:
        """Write the head after every change that the worker has applied, forever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._heartbeats.follow(*await asyncio.to_thread(self._history.head))
                if not self._writer.full:
                    self._heartbeats.tick()
            except LogUnavailable as error:
                _logger.warning("cannot log the history's head; it is logged later: %s", error)
            except RegistryError as error:
                _logger.warning("cannot read the history's head; retrying: %s", error)
                await asyncio.sleep(TICK_US / 1e6)
                self._changed.set()


async def beat_periodically(heartbeats: Heartbeats, writer: Appender) -> None:
    """Write heartbeats forever, except while the disk's last space is reserved for requests."""
    while True:
        await asyncio.sleep(TICK_US / 1e6)
        if writer.full:
            continue
        try:
            heartbeats.tick()
        except LogUnavailable as error:
            _logger.warning("cannot log heartbeats: %s", error)


def end_heartbeats(heartbeats: Heartbeats) -> None:
    """Log the last heartbeats, because the worker stops."""
    try:
        heartbeats.end()
    except LogUnavailable as error:
        _logger.warning("cannot log the last heartbeats: %s", error)
