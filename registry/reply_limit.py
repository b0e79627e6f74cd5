"""PostgreSQL connections with a time limit for each reply."""

from typing import ClassVar

import psycopg
from psycopg.abc import RV, PQGen


class LimitedConnection(psycopg.Connection[tuple[object, ...]]):
    """A connection that is closed if the server accepts a statement but does not reply in time.

    A suspended machine, or a machine with a hanging disk, can still acknowledge packets, so TCP's
    timeouts do not detect it. Subclasses set the limit.
    """

    reply_s: ClassVar[float]  # seconds for a reply; longer than a statement can wait for a lock

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for a reply; close the connection and raise OperationalError after the limit."""
        try:
            return super().wait(gen, interval, self.reply_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - has no public name
            self.close()
            raise psycopg.OperationalError(f"no reply within {self.reply_s:g} s") from None
