"""One of several monitors that share a log and a PostgreSQL database."""

from collections.abc import Callable

from monitoring.consumer import RETRY_STEPS, Consumer
from monitoring.sharing.handing import PartReader, StreamPublisher
from monitoring.storage.database import Database

LEADING = "leading"  # the lock of the one that takes in, decides, and asks for retraining


class Member:
    """Reads its part of the log; the one that leads takes in what all have read.

    Both on one connection to the database, which holds the locks: a monitor that loses it
    loses the part and the lead at once, with everything that was not committed.
    """

    def __init__(
        self,
        database: Database,
        handing: StreamPublisher,
        reader: PartReader,
        lead: Callable[[], Consumer],
    ) -> None:
        """`lead` takes up the state as it was committed last."""
        self._database = database
        self._handing = handing
        self._reader = reader
        self._lead = lead
        self._consumer: Consumer | None = None

    def step(self, limit: int) -> bool:
        """Hand over what was read and, leading, take in what all have; whether anything moved."""
        moved = self._handing.step(self._reader, limit)
        if self._consumer is None and self._database.try_lock(LEADING):
            self._consumer = self._lead()
        if self._consumer is not None:
            moved |= self._consumer.step(limit)
        return moved

    def run(self, wait: Callable[[float], bool], limit: int, idle_pause: float) -> None:
        """Step until `wait(seconds)` says that it is time to stop."""
        steps = 0
        while not wait(0 if self.step(limit) else idle_pause):
            steps += 1
            if self._consumer is not None and steps % RETRY_STEPS == 0:
                self._consumer.retry_dead_letters()

    def close_all(self) -> None:
        """Close every open window now; only where this one leads."""
        assert self._consumer is not None
        self._consumer.close_all()

    @property
    def drained(self) -> bool:
        """Whether this one leads and all of the log is taken in."""
        return self._consumer is not None and self._consumer.drained

    @property
    def scoring(self) -> bool:
        """Whether a window is still being scored here."""
        return self._consumer is not None and self._consumer.scoring
