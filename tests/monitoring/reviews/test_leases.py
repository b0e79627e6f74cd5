"""Leases of review rows on both databases: one reviewer at a time, until they expire."""

import pytest

from eventlog.errors import LogUnavailable
from eventlog.events import Label, ReviewAction
from monitoring.review_desk.leases import (
    LEASE,
    Decision,
    ReviewConflict,
    ReviewDesk,
    UnknownReview,
)
from monitoring.reviews.rows import PickedRow
from monitoring.storage.database import DatabaseAddress
from tests.monitoring.log_in_memory import HOUR, T0, Log, Monitor


class _Decisions:
    """A log in memory that can be full."""

    def __init__(self) -> None:
        self.found: list[tuple[str, ReviewAction, Label, str]] = []
        self.full = False

    def append(
        self, picked: PickedRow, action: ReviewAction, label: Label, *, actor: str, why: str
    ) -> None:
        if self.full:
            raise LogUnavailable(why)
        self.found.append((picked.joined_by, action, label, actor))

    def close(self) -> None:
        pass


def test_row_is_leased_to_one_reviewer_at_a_time(each_database: DatabaseAddress) -> None:
    log = Log()
    for n in range(60):
        log.predict(T0 + n, f"a{n}")
    log.pass_time(T0 + 2 * HOUR)
    Monitor(each_database, log.records).drain()
    now, decisions = T0, _Decisions()
    desk = ReviewDesk(each_database, decisions, lambda: now)
    other = ReviewDesk(each_database, decisions, lambda: now)  # as in another process
    all_rows = desk.waiting()["tiny"]
    ann = desk.lease("tiny", "key:ann", 2)
    ben = other.lease("tiny", "key:ben", 500)
    assert (len(ann), len(ben)) == (2, all_rows - 2)
    assert not {one.joined_by for one in ann} & {one.joined_by for one in ben}
    assert desk.lease("tiny", "key:cem", 5) == []
    first = ann[0]
    accept = Decision(prediction_id=first.stored.prediction_id, action="accept")
    with pytest.raises(ReviewConflict, match="key:ann has leased"):
        other.decide(first, accept, "key:ben")
    decisions.full = True
    with pytest.raises(LogUnavailable):
        desk.decide(first, accept, "key:ann")
    decisions.full = False
    desk.decide(first, accept, "key:ann")
    with pytest.raises(ReviewConflict, match="key:ann has decided"):
        other.decide(first, accept, "key:ben")
    assert decisions.found == [(first.joined_by, "accept", first.stored.predicted, "key:ann")]
    assert desk.waiting()["tiny"] == all_rows - 1
    now += LEASE + 1
    assert len(other.lease("tiny", "key:ben", 500)) == all_rows - 1
    assert desk.undo("tiny", "key:ann").joined_by == first.joined_by
    assert [action for _, action, *_ in decisions.found] == ["accept", "undo"]
    assert [one.joined_by for one in desk.lease("tiny", "key:ann", 1)] == [first.joined_by]
    with pytest.raises(UnknownReview, match="key:ann decided about no row"):
        desk.undo("tiny", "key:ann")
    with pytest.raises(UnknownReview):
        desk.find("a\0", 0)
    other.close()
    desk.close()
