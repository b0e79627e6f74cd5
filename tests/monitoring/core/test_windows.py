"""Windows, watermark, sampling, joining and the ledger: pure, and the same in any order."""

from hypothesis import given
from hypothesis import strategies as st

from monitoring.core.joining import join, revise
from monitoring.core.results import Window
from monitoring.core.sampling import Sample, row_hash
from monitoring.core.windows import (
    IDLE,
    LONGEST_GAP,
    SECOND,
    Watch,
    WindowState,
    advance,
    counts,
    due,
    watermark,
    window_of,
)

HOUR = 3600
times = st.integers(0, 2**52)


def _watch() -> Watch:
    return Watch("tiny", "1")


@given(times, st.integers(1, 10**7))
def test_a_time_lies_in_its_window_and_windows_tile(time: int, length: int) -> None:
    window = window_of(time, length)
    assert window.start <= time < window.end
    assert window.end - window.start == length * SECOND
    assert window_of(window.end, length).start == window.end


@given(st.dictionaries(st.sampled_from("abc"), st.lists(times, min_size=1), min_size=1))
def test_the_watermark_is_the_least_progress_whatever_the_order(told: dict[str, list[int]]) -> None:
    forward, backward = _watch(), _watch()
    for source, moments in told.items():
        for moment in moments:
            advance(forward, source, moment, 5)
    for source, moments in reversed(told.items()):
        for moment in sorted(moments):
            advance(backward, source, moment, 5)
    expected = min(max(moments) for moments in told.values())
    assert watermark(forward, drained=False) == watermark(backward, drained=False) == expected


def test_a_silent_source_holds_nobody_up_once_everything_is_read() -> None:
    watch = _watch()
    advance(watch, "silent", 10 * SECOND, 0)
    advance(watch, "lively", 500 * SECOND, IDLE + 1)
    assert watermark(watch, drained=False) == 10 * SECOND
    assert watermark(watch, drained=True) == 500 * SECOND


def test_nothing_is_due_before_the_first_event() -> None:
    assert watermark(_watch(), drained=True) == 0
    assert due([], _watch(), 0, HOUR, 0) == []


@given(st.sets(st.integers(1, 60), min_size=1), st.integers(0, 7200))
def test_each_window_closes_once_in_order_with_the_empty_ones_between(
    hours: set[int], grace: int
) -> None:
    watch = _watch()
    size = HOUR * SECOND
    remaining = [Window(hour * size, (hour + 1) * size) for hour in hours]
    closed: list[Window] = []
    for mark in range(0, 70 * size, size // 2):
        closing = due(remaining, watch, mark, HOUR, grace)
        assert all(window.end <= mark - grace * SECOND for window in closing)
        remaining = [window for window in remaining if window not in closing]
        closed += closing
    assert remaining == []
    first, last = min(hours), max(hours)
    assert [window.start // size for window in closed] == list(range(first, last + 1))


def test_a_leap_through_years_is_not_told_window_by_window() -> None:
    watch = _watch()
    size = HOUR * SECOND
    near, far = Window(0, size), Window(10_000 * size, 10_001 * size)
    assert len(due([near, far], watch, far.end, HOUR, 0)) == 2
    assert LONGEST_GAP < 10_000


@given(st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_rows_are_labelled_pending_or_expired(rows: int, labelled: int, expired: bool) -> None:
    state = WindowState(0, 1, rows=rows + labelled, labelled=labelled, expired=expired)
    result = counts("tiny", "1", state, sampled=0)
    assert result.rows == result.labelled + result.pending + result.expired
    assert (result.expired if not expired else result.pending) == 0


@given(st.lists(st.integers(0, 200), unique=True), st.integers(1, 20), st.randoms())
def test_a_sample_is_the_smallest_hashes_in_any_order(
    numbers: list[int], size: int, chance: object
) -> None:
    shuffled = list(numbers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    kept: set[int] = set()
    sample = Sample(size)
    for number in shuffled:
        taken, pushed_out = sample.offer(number)
        if taken:
            kept.add(number)
        kept.discard(pushed_out)  # type: ignore[arg-type]
    assert kept == set(sorted(numbers)[:size])
    assert len(sample) == len(kept)


def test_row_hashes_are_stable_and_spread() -> None:
    assert row_hash("serving-0:1:7", 0) == 619_545_338_293_512_468
    hashes = [row_hash(f"a:1:{n}", 0) for n in range(1000)]
    assert 400 < sum(number < 2**62 for number in hashes) < 600


def test_the_first_label_holds_the_same_is_a_duplicate_another_a_conflict() -> None:
    assert join(None, 1) == "joined"
    assert join(1, 1) == "duplicate"
    assert join(1, 0) == "conflicting"
    assert join(1, True) == "conflicting", "a label of another type is another label"


def test_a_result_is_revised_for_a_fifth_of_its_rows_for_the_last_and_at_the_end() -> None:
    assert not revise(100, 19, 0, expired=False)
    assert revise(100, 20, 0, expired=False)
    assert not revise(100, 39, 20, expired=False)
    assert revise(100, 100, 95, expired=False)
    assert revise(100, 21, 20, expired=True)
    assert not revise(100, 20, 20, expired=True)
