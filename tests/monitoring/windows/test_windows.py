"""Windows, watermark, samples and label joins are independent of the order of events."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.ingest.joins import join
from monitoring.windows.grid import SECOND
from monitoring.windows.row_sample import RowSample, row_hash
from monitoring.windows.watermark import IDLE, VersionProgress
from monitoring.windows.window_state import (
    MOST_SHOWN,
    TRANSITIONS,
    WindowState,
    decode_window,
    merge_panes,
    result_of,
)

DAY = 86_400 * SECOND
times = st.integers(0, 2**52)


def _version_progress() -> VersionProgress:
    return VersionProgress("tiny", "1")


@given(st.dictionaries(st.sampled_from("abc"), st.lists(times, min_size=1), min_size=1))
def test_watermark_is_the_minimum_progress_in_any_order_of_sources(
    events: dict[str, list[int]],
) -> None:
    forward, backward = _version_progress(), _version_progress()
    for source, moments in events.items():
        for moment in moments:
            forward.advance(source, moment, 2**52, 2**52)
    for source, moments in reversed(events.items()):
        for moment in moments:
            backward.advance(source, moment, 2**52, 2**52)
    expected = min(progress.watermark for progress in forward.progress.values())
    assert forward.watermark(drained=False) == backward.watermark(drained=False) == expected


def test_silent_source_does_not_delay_the_watermark_once_all_is_read() -> None:
    watch = _version_progress()
    watch.advance("silent", 10 * SECOND, DAY, DAY)
    watch.advance("lively", 500 * SECOND, DAY, DAY + IDLE + 1)
    assert watch.watermark(drained=False) == 10 * SECOND
    assert watch.watermark(drained=True) == 500 * SECOND


@given(
    st.dictionaries(st.sampled_from("abc"), st.tuples(times, times), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), times),
)
def test_idle_watermark_is_within_the_watermark_and_the_last_reception(
    events: dict[str, tuple[int, int]], heard: dict[str, int]
) -> None:
    watch = _version_progress()
    for source, (moment, received) in events.items():
        watch.advance(source, moment, received, received)
        heard[source] = max(heard.get(source, 0), received)
    latest = max(heard.values())
    mark = watch.watermark(drained=False)
    assert mark <= watch.idle_watermark(heard, latest) <= max(mark, latest - IDLE)


@given(st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_rows_are_labelled_pending_or_expired(rows: int, labelled: int, expired: bool) -> None:
    state = WindowState(0, 1, rows=rows + labelled, labelled=labelled)
    result = result_of("tiny", "1", state, sampled=0, final=expired)
    assert result.rows == result.labelled + result.pending + result.expired
    assert (result.expired if not expired else result.pending) == 0


def test_result_shows_the_confusion_matrix_up_to_a_number_of_classes() -> None:
    few, many = WindowState(0, 1), WindowState(0, 1)
    few.answers.confusion.add([(1, 0), (0, 0), (1, 0)])
    many.answers.confusion.add((n, 0) for n in range(MOST_SHOWN + 1))
    assert result_of("tiny", "1", few, sampled=0).confusion == {"0": {"0": 1}, "1": {"0": 2}}
    assert result_of("tiny", "1", many, sampled=0).confusion == {}


@given(st.lists(st.integers(0, 200), unique=True), st.integers(1, 20), st.randoms())
def test_sample_has_the_smallest_hashes_in_any_order(
    numbers: list[int], size: int, chance: object
) -> None:
    shuffled = list(numbers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    kept: set[int] = set()
    sample = RowSample(size)
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


def test_second_label_is_a_duplicate_or_a_conflict() -> None:
    assert join(None, 1) == "joined"
    assert join(1, 1) == "duplicate"
    assert join(1, 0) == "conflicting"
    assert join(1, True) == "duplicate", "two spellings of one class are one label"


def test_result_is_revised_per_fifth_of_labels_at_the_last_and_at_the_end() -> None:
    assert not _needs_revision(rows=100, labelled=19, scored=0, final=False)
    assert _needs_revision(rows=100, labelled=20, scored=0, final=False)
    assert not _needs_revision(rows=100, labelled=39, scored=20, final=False)
    assert _needs_revision(rows=100, labelled=100, scored=95, final=False)
    assert _needs_revision(rows=100, labelled=21, scored=20, final=True)
    assert not _needs_revision(rows=100, labelled=20, scored=20, final=True)


@given(st.lists(st.integers(0, 500), unique=True), st.integers(0, 9), st.integers(1, 20))
def test_merged_samples_equal_the_sample_of_all_rows(
    numbers: list[int], at: int, size: int
) -> None:
    first, second, whole = RowSample(size), RowSample(size), RowSample(size)
    for place, number in enumerate(numbers):
        (first if place % 10 < at else second).offer(number)
        whole.offer(number)
    too_many = len(first) + len(second) > size
    largest = first.merge(second)
    assert sorted(first) == sorted(whole) == sorted(numbers)[:size]
    assert largest == (max(first) if too_many else None)


def test_open_panes_are_shown_as_part_of_the_filling_window() -> None:
    filling = WindowState(0, 60, rows=3, events={"ok": 3})
    panes = [WindowState(60, 120, rows=2, events={"ok": 2, "failed": 1}, phase="pane")]
    (merged,) = merge_panes([filling, *panes])
    assert (merged.start, merged.end, merged.rows, merged.events) == (
        0,
        120,
        5,
        {"ok": 5, "failed": 1},
    )
    apart = [WindowState(0, 60, rows=3), WindowState(60, 120, rows=2)]
    assert merge_panes(apart) == apart, "windows by time are unchanged"


def _needs_revision(*, rows: int, labelled: int, scored: int, final: bool) -> bool:
    window = WindowState(0, 1, rows=rows, labelled=labelled, scored_labels=scored)
    return window.needs_revision(final=final)


def test_window_refuses_transitions_that_its_phase_does_not_allow() -> None:
    for phase in ("pane", "open", "closed", "expired"):
        for transition in ("open", "close", "expire"):
            window = WindowState(0, 1, phase=phase)
            if (phase, transition) in TRANSITIONS:
                window.move(transition)
            else:
                with pytest.raises(ValueError, match=f"cannot {transition} while {phase}"):
                    window.move(transition)


@pytest.mark.parametrize(
    ("flags", "phase"),
    [
        ({"pane": True}, "pane"),
        ({}, "open"),
        ({"closed": True}, "closed"),
        ({"closed": True, "judged": True}, "closed"),
        ({"closed": True, "judged": True, "expired": True}, "expired"),
    ],
)
def test_a_window_of_an_earlier_release_is_read(flags: dict[str, bool], phase: str) -> None:
    stored = msgspec.to_builtins(WindowState(0, 9, rows=3)) | dict.fromkeys(
        ("pane", "closed", "expired", "judged"), False
    )
    del stored["phase"]
    window = decode_window(msgspec.json.encode(stored | flags))
    assert (window.end, window.rows, window.phase) == (9, 3, phase)
    assert decode_window(msgspec.json.encode(window)) == window


def test_window_stored_as_judged_by_an_earlier_release_is_closed() -> None:
    stored = msgspec.to_builtins(WindowState(0, 9, rows=3)) | {"phase": "judged"}
    assert decode_window(msgspec.json.encode(stored)).phase == "closed"
