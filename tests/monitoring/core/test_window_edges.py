"""Where windows, gaps, the watermark, samples and the ledger have their edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.core.results import Window
from monitoring.core.sampling import LARGEST, Sample, row_hash
from monitoring.core.windows import IDLE, LONGEST_GAP, SECOND, Watch, advance, due, watermark

HOUR = 3600
SIZE = HOUR * SECOND


def _hour(number: int) -> Window:
    return Window(number * SIZE, (number + 1) * SIZE)


@pytest.mark.parametrize(("gap", "shown"), [(0, 0), (1, 1), (LONGEST_GAP, LONGEST_GAP)])
def test_the_empty_windows_of_a_gap_are_shown(gap: int, shown: int) -> None:
    first, last = _hour(10), _hour(11 + gap)
    closing = due([first, last], Watch("tiny", "1"), last.end, HOUR, 0)
    assert closing == [_hour(10 + n) for n in range(shown + 2)]


def test_a_longer_gap_is_passed_over_and_what_follows_it_closes_all_the_same() -> None:
    watch = Watch("tiny", "1")
    first, last = _hour(10), _hour(12 + LONGEST_GAP)
    assert due([first, last], watch, last.end, HOUR, 0) == [first, last]
    assert watch.closed_until == last.end


def test_a_window_closes_at_the_very_end_of_its_grace_and_not_a_microsecond_earlier() -> None:
    watch = Watch("tiny", "1")
    over = _hour(1).end + 60 * SECOND
    assert due([_hour(1)], watch, over - 1, HOUR, 60) == []
    assert due([_hour(1)], watch, over, HOUR, 60) == [_hour(1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2**40)), min_size=1))
def test_the_watermark_of_known_sources_never_goes_back(told: list[tuple[str, int]]) -> None:
    watch = Watch("tiny", "1")
    for source in "abc":
        advance(watch, source, 0, 0)
    before = 0
    for source, time in told:
        advance(watch, source, time, 0)
        after = watermark(watch, drained=False)
        assert after >= before
        before = after


def test_a_source_is_silent_only_once_it_is_further_behind_than_the_patience() -> None:
    watch = Watch("tiny", "1")
    advance(watch, "slow", 10, received=0)
    advance(watch, "fast", 99, received=IDLE)
    assert watermark(watch, drained=True) == 10
    advance(watch, "fast", 99, received=IDLE + 1)
    assert watermark(watch, drained=True) == 99
    assert watermark(watch, drained=False) == 10


@given(st.integers(0, 40), st.integers(1, 40))
def test_a_sample_is_exact_while_the_window_is_small(rows: int, size: int) -> None:
    sample = Sample(size)
    kept = [sample.offer(row_hash("a:1:0", row))[0] for row in range(rows)]
    assert len(sample) == min(rows, size)
    assert all(kept[:size])


@given(st.text(max_size=30), st.integers(0, 2**31))
def test_a_row_hash_fits_a_signed_column_of_64_bits(event_id: str, row: int) -> None:
    assert 0 <= row_hash(event_id, row) <= LARGEST


def test_every_row_has_about_the_same_chance_to_be_kept() -> None:
    """The kept ones lie evenly over the order in which they came."""
    numbers = [row_hash(f"s:1:{n}", 0) for n in range(10_000)]
    limit = sorted(numbers)[1000]
    early = sum(number < limit for number in numbers[:5000])
    assert 430 < early < 570
