"""A source's ledger adds up for any order, duplicates and losses."""

from hypothesis import given
from hypothesis import strategies as st

from eventlog.log import Position
from monitoring.ingest.ledger import MOST_HOLES, enter, give_up
from monitoring.results import SourceLedger

Place = tuple[int, int]  # epoch, sequence

_places = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), min_size=1, max_size=80)


def _empty() -> SourceLedger:
    return SourceLedger(source="s", epoch=0, next_sequence=0)


def _entered(places: list[Place]) -> tuple[SourceLedger, list[Place]]:
    ledger, fresh = _empty(), []
    for place in places:
        ledger, new = enter(ledger, Position(*place), readable=True)
        fresh += [place] if new else []
    return ledger, fresh


def _from_the_first_epoch(places: list[Place]) -> list[Place]:
    """Leave out earlier epochs than the first event's: the ledger takes them for already read."""
    first = places[0][0]
    return [place for place in places if place[0] >= first]


@given(_places)
def test_each_sequence_number_is_new_once_in_any_order(places: list[Place]) -> None:
    known = _from_the_first_epoch(places)
    ledger, fresh = _entered(known)
    assert sorted(fresh) == sorted(set(known))
    assert ledger.events + ledger.duplicated == len(known)


@given(_places)
def test_received_and_missing_events_add_up_to_every_epoch(places: list[Place]) -> None:
    known = _from_the_first_epoch(places)
    ledger, _ = _entered(known)
    highest = {epoch: max(s for e, s in known if e == epoch) for epoch, _ in known}
    assert ledger.events + ledger.missing == sum(top + 1 for top in highest.values())
    assert ledger.lost == 0


@given(_places)
def test_ledger_does_not_depend_on_the_order(places: list[Place]) -> None:
    known = _from_the_first_epoch(places)
    first, rest = known[0], known[1:]
    in_order, _ = _entered(known)
    reordered, _ = _entered([first, *sorted(rest)])
    assert (in_order.top, in_order.events, in_order.missing) == (
        reordered.top,
        reordered.events,
        reordered.missing,
    )
    assert in_order.holes == reordered.holes


@given(_places, _places)
def test_event_given_up_is_lost_until_it_arrives(early: list[Place], late: list[Place]) -> None:
    known = _from_the_first_epoch([*early, *late])
    before, after = known[: len(early)], known[len(early) :]
    ledger, _ = _entered(before)
    missing = ledger.missing
    ledger = give_up(ledger, ledger.top)
    assert (ledger.lost, ledger.missing) == (missing, 0)
    for place in after:
        ledger, _ = enter(ledger, Position(*place), readable=True)
    undisturbed, _ = _entered(known)
    assert ledger.events == undisturbed.events
    assert ledger.lost + ledger.missing == undisturbed.missing
    assert ledger.lost + ledger.recovered == missing


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_gap_in_an_ordered_log_is_lost_at_once(steps: list[int]) -> None:
    """A step of 0 repeats a record, 1 reads the next, a larger step skips records."""
    at, places = -1, []
    for step in steps:
        at = max(0, at + step)
        places.append((1, at))
    ledger, fresh = _entered(places)
    ledger = give_up(ledger, ledger.top)
    assert ledger.events == len(fresh)
    assert ledger.events + ledger.duplicated == len(steps)
    assert ledger.events + ledger.lost == ledger.next_sequence


def test_only_events_below_the_given_position_are_given_up() -> None:
    ledger, _ = _entered([(1, 0), (1, 3), (1, 6)])
    ledger = give_up(ledger, Position(1, 4))
    assert (ledger.lost, ledger.missing) == (2, 2)
    assert give_up(ledger, Position(1, 4)) == ledger


def test_epoch_can_end_after_the_next_epoch_has_begun() -> None:
    ledger, _ = _entered([(1, 0), (1, 1), (2, 0)])
    assert ledger.missing == 0
    ledger, fresh = enter(ledger, Position(1, 4), readable=True)
    assert (fresh, ledger.missing) == (True, 2)
    ledger = give_up(ledger, ledger.top)
    assert ledger.lost == 2
    for sequence in (2, 3, 5, 9):
        ledger, fresh = enter(ledger, Position(1, sequence), readable=True)
        assert fresh
    assert (ledger.lost, ledger.recovered, ledger.missing) == (0, 2, 3)


def test_unreadable_event_is_counted_once() -> None:
    ledger, fresh = enter(_empty(), Position(1, 0), readable=False)
    assert (fresh, ledger.events, ledger.unreadable) == (True, 1, 1)
    ledger, fresh = enter(ledger, Position(1, 0), readable=False)
    assert (fresh, ledger.duplicated, ledger.unreadable) == (False, 1, 1)


def test_number_of_holes_is_bounded_and_the_oldest_count_as_lost() -> None:
    ledger, _ = _entered([(1, 2 * n) for n in range(1000)])
    assert len(ledger.holes) == MOST_HOLES
    assert ledger.lost + ledger.missing == 999
    _, fresh = enter(ledger, Position(1, 1), readable=True)
    assert not fresh


def test_newest_reception_is_recorded_in_any_order() -> None:
    ledger = _empty()
    for sequence, received in [(0, 5), (3, 7), (1, 9), (1, 12), (4, 8)]:  # sequence 1 is repeated
        ledger, _ = enter(ledger, Position(1, sequence), readable=True, received=received)
    assert ledger.received == 9
