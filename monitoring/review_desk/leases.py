"""Lease rows of the review queue to people, and append their decisions to the event log.

A row is leased for 15 minutes, so that two people do not label the same row. A decision becomes a
label event, which the monitor reads like any other label. Leases and skipped rows are only stored
in the database, because no result depends on them.
"""

import threading
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from eventlog.errors import DriftlineError
from eventlog.events import Label, ReviewAction
from eventlog.shards import join_key
from monitoring.reviews.rows import PickedRow
from monitoring.reviews.selection import Place
from monitoring.storage.database import Database, DatabaseAddress, as_int
from monitoring.storage.reviews import read_picked
from monitoring.storage.sql import reviews as queries

LEASE = 15 * 60_000_000  # duration of a lease in microseconds
MOST = 500  # maximum rows that one call leases

DecisionAction = Literal["accept", "correct", "skip", "undo"]


class ReviewConflict(DriftlineError):
    """Another person has leased the row or decided about it."""


class UnknownReview(DriftlineError):
    """No such row was picked for review."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision about a row."""

    prediction_id: str = ""  # unused if the action is `undo`
    row: int = 0  # number of the row within its prediction
    action: DecisionAction
    label: Label | None = None  # corrected label; only used if the action is `correct`
    why: str = ""


class DecisionLog(Protocol):
    """Interface for appending decisions to the event log."""

    def close(self) -> None:
        """Release the log."""
        ...

    def append(  # the fields of an event
        self,
        picked: PickedRow,
        action: ReviewAction,
        label: Label,
        *,
        actor: str,
        why: str,
    ) -> None:
        """Append a label event.

        Raises:
            LogUnavailable: the log cannot be written.
        """
        ...


class ReviewDesk:
    """Leases rows and records decisions; thread-safe."""

    def __init__(
        self, address: DatabaseAddress, log: DecisionLog, clock: Callable[[], int]
    ) -> None:
        """`clock` returns microseconds since the Unix epoch."""
        self._database = Database(address)
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()

    def lease(self, model: str, holder: str, limit: int) -> list[PickedRow]:
        """Lease a model's next rows to `holder`; the rows that `holder` has leased are included.

        Rows of the newest period come first. Their order within a period is random, so the rows
        that get labelled are a random sample of the period.
        """
        now = self._clock()
        with self._lock, self._database.transaction():
            free = self._database.all(
                queries.FREE, model=model, holder=holder, now=now, limit=min(limit, MOST)
            )
            places = [(str(name), as_int(row)) for name, row in free]
            self._database.many(
                queries.ADD_LEASE, [(*place, "", 0, "leased", "", 0) for place in places]
            )
            self._database.many(
                queries.TAKE_LEASE, [(holder, now + LEASE, now, *place) for place in places]
            )
            rows = self._database.all(
                queries.LEASED_ROWS, model=model, holder=holder, now=now, limit=min(limit, MOST)
            )
        return read_picked(rows)

    def waiting_rows(self, model: str, limit: int) -> list[PickedRow]:
        """Return a model's undecided rows in the order of the queue, leased or not."""
        with self._lock:
            rows = self._database.all(queries.OPEN, model=model, limit=limit)
        return read_picked(rows)

    def waiting(self) -> dict[str, int]:
        """Return the number of undecided rows of each model, including models without any."""
        with self._lock:
            models = self._database.all(queries.MODELS)
            counts = {str(model): rows for model, rows in self._database.all(queries.COUNT_OPEN)}
        return {
            str(model): as_int(counts.get(str(model), 0)) for model, _ in sorted(models, key=str)
        }

    def find(self, prediction_id: str, row: int) -> PickedRow:
        """Return a picked row.

        Raises:
            UnknownReview: the row was not picked.
        """
        rows: list[PickedRow] = []
        if "\0" not in prediction_id:  # PostgreSQL accepts no null character
            with self._lock:
                rows = read_picked(self._database.look_up(queries.OF_ID, [join_key(prediction_id)]))
        for picked in rows:
            if picked.row == row and picked.stored.prediction_id == prediction_id:
                return picked
        raise UnknownReview(f"row {row} of prediction {prediction_id[:80]!r} was not picked")

    def decide(self, picked: PickedRow, decision: Decision, actor: str) -> None:
        """Log a person's decision about a row, or mark the row as skipped.

        Raises:
            ReviewConflict: another person has leased the row, or the row is decided.
            LogUnavailable: the log cannot be written.
        """
        place = picked.joined_by, picked.row
        with self._lock, self._database.transaction():
            self._require_free(place, actor)
            if decision.action == "skip":
                self._save(place, actor, "skipped", decision.why)
                return
            label = decision.label if decision.action == "correct" else picked.stored.predicted
            assert label is not None
            action: ReviewAction = "correct" if decision.action == "correct" else "accept"
            self._log.append(picked, action, label, actor=actor, why=decision.why)
            self._save(place, actor, "decided", decision.why)

    def undo(self, model: str, actor: str, why: str = "") -> PickedRow:
        """Undo the actor's newest decision about a model's row; return the row, leased again.

        Raises:
            UnknownReview: the actor has not decided about any row of the model.
        """
        with self._lock, self._database.transaction():
            decisions = self._database.all(queries.LAST_ACTION, model=model, holder=actor, limit=1)
            if not decisions:
                raise UnknownReview(f"{actor or 'you'} decided about no row of {model} yet")
            name, row, state = decisions[0]
            place = str(name), as_int(row)
            rows = read_picked(self._database.look_up(queries.OF_ID, [place[0]]))
            picked = next(candidate for candidate in rows if candidate.row == place[1])
            if state == "decided":
                # The event needs some label, but not the undone label: only the newest decision
                # about a row is used.
                label = picked.stored.predicted
                self._log.append(picked, "undo", label, actor=actor, why=why)
            self._save(place, actor, "leased", why)
        return picked

    def close(self) -> None:
        """Close the database connection and the log."""
        self._database.close()
        self._log.close()

    def _require_free(self, place: Place, actor: str) -> None:
        name, row = place
        lease = self._database.one(queries.LEASE, prediction_id=name, row=row)
        if lease is None:
            return
        holder, until, state, *_ = lease
        if state == "decided":
            raise ReviewConflict(f"{holder or 'another person'} has decided about this row")
        if holder != actor and state == "leased" and as_int(until) > self._clock():
            raise ReviewConflict(f"{holder or 'another person'} has leased this row")

    def _save(self, place: Place, actor: str, state: str, why: str) -> None:
        now = self._clock()
        self._database.write(queries.SAVE_LEASE, *place, actor, now + LEASE, state, why, now)
