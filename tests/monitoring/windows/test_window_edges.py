"""Edge cases of the watermark and of row samples."""

from hypothesis import given
from hypothesis import strategies as st

from monitoring.windows.row_sample import LARGEST, RowSample, row_hash
from monitoring.windows.watermark import IDLE, VersionProgress


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2**40)), min_size=1))
def test_watermark_of_ordered_known_sources_never_decreases(
    events: list[tuple[str, int]],
) -> None:
    watch = VersionProgress("tiny", "1")
    for source in "abc":
        watch.advance(source, 0, 2**40, 2**40)
    before = 0
    for source, time in sorted(events, key=lambda event: event[1]):
        watch.advance(source, time, 2**40, 2**40)
        after = watch.watermark(drained=False)
        assert after >= before
        before = after


def test_source_is_silent_only_beyond_the_idle_limit() -> None:
    watch = VersionProgress("tiny", "1")
    watch.advance("slow", 10, 99, clock=99)
    watch.advance("fast", 99, 99, clock=99 + IDLE)
    assert watch.watermark(drained=True) == 10
    watch.advance("fast", 99, 99, clock=99 + IDLE + 1)
    assert watch.watermark(drained=True) == 99
    assert watch.watermark(drained=False) == 10


@given(st.integers(0, 40), st.integers(1, 40))
def test_sample_contains_every_row_of_a_small_window(rows: int, size: int) -> None:
    sample = RowSample(size)
    kept = [sample.offer(row_hash("a:1:0", row))[0] for row in range(rows)]
    assert len(sample) == min(rows, size)
    assert all(kept[:size])


@given(st.text(max_size=30), st.integers(0, 2**31))
def test_a_row_hash_fits_a_signed_column_of_64_bits(event_id: str, row: int) -> None:
    assert 0 <= row_hash(event_id, row) <= LARGEST


def test_every_row_is_equally_likely_to_be_sampled() -> None:
    """Sampled rows are spread evenly over the order of arrival."""
    numbers = [row_hash(f"s:1:{n}", 0) for n in range(10_000)]
    limit = sorted(numbers)[1000]
    early = sum(number < limit for number in numbers[:5000])
    assert 430 < early < 570
