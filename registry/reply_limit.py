"""PostgreSQL connections that do not wait for ever for a reply."""

from typing import ClassVar

import psycopg
from psycopg.abc import RV, PQGen


class LimitedConnection(psycopg.Connection[tuple[object, ...]]):
    """A connection that gives up a server which accepts statements and never replies.

    A stopped machine, or one whose disk hangs, may still acknowledge packets, so no limit of TCP
    notices it. Subclasses state their limit.
    """

    reply_s: ClassVar[float]  # seconds for a reply; longer than the statement may wait for a lock

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for a reply; close the connection and raise OperationalError without one."""
        try:
            return super().wait(gen, interval, self.reply_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - has no public name
            self.close()
            raise psycopg.OperationalError(f"no reply within {self.reply_s:g} s") from None
