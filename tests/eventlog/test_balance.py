"""The ledger's four figures: events in flight are no difference, lost events are."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from eventlog.answer_counts import MINUTE
from eventlog.balance import SourceCounts, balance_of, count_records
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent
from eventlog.log import Position, Record


def _record(sequence: int, minute: int) -> Record:
    event = FeedbackEvent(
        source="s",
        epoch=1,
        sequence=sequence,
        time=0,
        received=minute * MINUTE,
        prediction_id="p",
        label=1,
    )
    return Record("s", 1, sequence, event)


def _book(
    minutes: list[int], gone: set[int], cursor: int, seen: int, unseen: set[int]
) -> SourceCounts:
    """A source that answered at these minutes, some of which are gone from the log."""
    book = SourceCounts("s", Counter(minutes), forwarded=Counter(), dead_lettered=Counter())
    kept = [_record(n, minute) for n, minute in enumerate(minutes) if n not in gone]
    count_records(book, kept, Position(1, cursor), Position(1, seen))
    book.monitored = Counter(
        minutes[r.sequence] for r in kept if r.sequence < seen and r.sequence not in unseen
    )
    return book


_minutes = st.lists(st.integers(0, 9), min_size=1, max_size=50)
_some = st.sets(st.integers(0, 49))


@given(_minutes, _some, _some, st.integers(0, 50), st.integers(0, 50))
def test_every_loss_is_counted_where_it_happened(
    minutes: list[int], gone: set[int], unseen: set[int], cursor: int, seen: int
) -> None:
    found = balance_of(_book(minutes, gone, cursor, seen, unseen))
    gone, passed = gone & set(range(len(minutes))), set(range(min(seen, len(minutes))))
    assert found.answered == len(minutes)
    assert found.unlogged == len(gone)
    assert found.unmonitored == len((unseen & passed) - gone)
    assert found.balanced == (not gone and not (unseen & passed) - gone)


@given(_minutes, _some, st.integers(0, 10))
def test_two_halves_of_a_range_make_up_the_whole(
    minutes: list[int], gone: set[int], middle: int
) -> None:
    book = _book(minutes, gone, 20, 30, set())
    whole, first, second = (balance_of(book, r) for r in ((0, 10), (0, middle), (middle, 10)))
    for figure in ("answered", "logged", "forwarded", "dead_lettered", "monitored"):
        assert getattr(first, figure) + getattr(second, figure) == getattr(whole, figure)


def test_events_in_flight_are_not_a_difference() -> None:
    found = balance_of(_book([1] * 10, set(), cursor=3, seen=5, unseen=set()))
    assert (found.answered, found.logged, found.forwarded, found.monitored) == (10, 10, 3, 5)
    assert found.balanced
    book = _book([1] * 10, set(), cursor=10, seen=10, unseen={4, 5})
    assert balance_of(book).unmonitored == 2
    book.missing = 2
    assert balance_of(book).balanced


@given(_minutes, _some, st.integers(0, 50))
def test_forwarded_and_dead_lettered_events_add_up_to_the_forwarders_position(
    minutes: list[int], dead: set[int], cursor: int
) -> None:
    book = SourceCounts("s", forwarded=Counter(), dead_lettered=Counter())
    records = [_record(n, minute) for n, minute in enumerate(minutes)]
    places = {("s", 1, n) for n in dead}
    count_records(book, records, Position(1, cursor), Position(0, 0), places)
    found, passed = balance_of(book), set(range(min(cursor, len(minutes))))
    assert found.dead_lettered == len(dead & passed)
    assert found.forwarded == len(passed - dead)
    assert found.balanced


def test_a_worker_killed_before_it_counted_lost_no_event() -> None:
    book = _book([1] * 10, set(), cursor=10, seen=10, unseen=set())
    book.answered = Counter({1: 8})
    assert balance_of(book).balanced


def test_deleted_segments_are_not_compared() -> None:
    book = _book([1, 1, 2, 3], {0}, cursor=4, seen=4, unseen=set())
    book.begins = 2
    found = balance_of(book)
    assert (found.answered, found.logged, found.clipped, found.balanced) == (2, 2, True, True)


def test_damaged_records_are_not_logged() -> None:
    book = SourceCounts("s", answered=Counter({1: 1}))
    count_records(
        book, [Record("s", 1, 0, UnreadableEvent("damaged"))], Position(0, 0), Position(0, 0)
    )
    assert balance_of(book).unlogged == 1
    assert balance_of(book).forwarded is balance_of(book).monitored is None
