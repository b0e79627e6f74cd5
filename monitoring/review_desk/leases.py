"""Hand rows of the review queue to people, and record what they decide in the log.

A row is leased for a time, so that two people do not get the same one. A decision becomes a label
event, which the monitor reads as any other label; leases and skipped rows lie in the database,
because nothing that is computed depends on them.
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

LEASE = 15 * 60_000_000  # microseconds
MOST = 500  # rows in one answer

Deed = Literal["accept", "correct", "skip", "undo"]


class ReviewConflict(DriftlineError):
    """The row is in other hands, or its decision was made."""


class UnknownReview(DriftlineError):
    """No such row was picked for review."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision about a row; ids are those of the rows' predictions."""

    prediction_id: str = ""  # not with `undo`
    row: int = 0
    action: Deed
    label: Label | None = None  # with `correct`
    why: str = ""


class DecisionLog(Protocol):
    """Port that logs decisions."""

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
        """Append a label event; raises LogUnavailable."""
        ...


class ReviewDesk:
    """Usable from several threads."""

    def __init__(
        self, address: DatabaseAddress, log: DecisionLog, clock: Callable[[], int]
    ) -> None:
        """`clock` gives microseconds since the epoch."""
        self._database = Database(address)
        self._log = log
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def lease(self, model: str, holder: str, limit: int) -> list[PickedRow]:
        """Lease the next rows of a model to a person; those that the person holds are among them.

        Newest period first, in random order within it: so any part of the queue that is labelled
        is a random part.
        """
        now = self._clock()
        with self._one_at_a_time, self._database.transaction():
            free = self._database.all(
                queries.FREE, model=model, holder=holder, now=now, limit=min(limit, MOST)
            )
            places = [(str(name), as_int(row)) for name, row in free]
            self._database.many(
                queries.ADD_LEASE, [(*place, "", 0, "leased", "", 0) for place in places]
            )
            self._database.many(
                queries.TAKE, [(holder, now + LEASE, now, *place) for place in places]
            )
            rows = self._database.all(
                queries.HELD, model=model, holder=holder, now=now, limit=min(limit, MOST)
            )
        return read_picked(rows)

    def waiting_rows(self, model: str, limit: int) -> list[PickedRow]:
        """Read rows that await a decision, in the order of the queue, leased or not."""
        with self._one_at_a_time:
            rows = self._database.all(queries.OPEN, model=model, limit=limit)
        return read_picked(rows)

    def waiting(self) -> dict[str, int]:
        """Count the rows that await a decision, by model; models without any are there, too."""
        with self._one_at_a_time:
            models = self._database.all(queries.MODELS)
            counts = {str(model): rows for model, rows in self._database.all(queries.COUNT_OPEN)}
        return {
            str(model): as_int(counts.get(str(model), 0)) for model, _ in sorted(models, key=str)
        }

    def find(self, prediction_id: str, row: int) -> PickedRow:
        """Read a picked row; raises UnknownReview."""
        rows: list[PickedRow] = []
        if "\0" not in prediction_id:  # PostgreSQL takes none
            with self._one_at_a_time:
                rows = read_picked(self._database.look_up(queries.OF_ID, [join_key(prediction_id)]))
        for picked in rows:
            if picked.row == row and picked.stored.prediction_id == prediction_id:
                return picked
        raise UnknownReview(f"row {row} of prediction {prediction_id[:80]!r} was not picked")

    def decide(self, picked: PickedRow, decision: Decision, actor: str) -> None:
        """Log a decision, or skip a row.

        Raises ReviewConflict if another person holds the row or has decided, and LogUnavailable.
        """
        place = picked.joined_by, picked.row
        with self._one_at_a_time, self._database.transaction():
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
        """Take back the newest decision of a person about a model; returns its row, leased again.

        Raises UnknownReview if there is none.
        """
        with self._one_at_a_time, self._database.transaction():
            deeds = self._database.all(queries.LAST_DEED, model=model, holder=actor, limit=1)
            if not deeds:
                raise UnknownReview(f"{actor or 'you'} decided about no row of {model} yet")
            name, row, state = deeds[0]
            place = str(name), as_int(row)
            rows = read_picked(self._database.look_up(queries.OF_ID, [place[0]]))
            picked = next(candidate for candidate in rows if candidate.row == place[1])
            if state == "decided":
                # The label that is taken back is not needed: the newest decision counts.
                label = picked.stored.predicted
                self._log.append(picked, "undo", label, actor=actor, why=why)
            self._save(place, actor, "leased", why)
        return picked

    def close(self) -> None:
        """Close the connection and the log."""
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
            raise ReviewConflict(f"{holder or 'another person'} holds this row")

    def _save(self, place: Place, actor: str, state: str, why: str) -> None:
        now = self._clock()
        self._database.write(queries.SAVE_LEASE, *place, actor, now + LEASE, state, why, now)
