"""A source's progress follows most of its events, for any order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from monitoring.windows.grid import SECOND
from monitoring.windows.watermark import IDLE, RECENT, SourceProgress, VersionProgress

HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NOW = 1_372_636_800_000_000


def _progress(times: list[int], received: int = NOW) -> SourceProgress:
    progress = SourceProgress(0, 0)
    for time in times:
        progress.advance(time, received, received)
    return progress


@given(
    bulk=st.lists(st.integers(NOW - 30 * DAY, NOW - DAY), min_size=2, max_size=40),
    outlier=st.one_of(st.integers(0, NOW - 40 * DAY), st.integers(NOW - HOUR, NOW + DAY)),
    data=st.data(),
)
def test_single_outlier_does_not_move_the_watermark_beyond_the_other_events(
    bulk: list[int], outlier: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(bulk)))
    reached = _progress([*bulk[:at], outlier, *bulk[at:]]).watermark
    assert min(bulk) <= reached <= max(bulk)


@given(st.lists(st.integers(NOW - 30 * DAY, NOW - DAY), min_size=16, max_size=40), st.data())
def test_three_outliers_in_sixteen_do_not_move_the_watermark_beyond_the_rest(
    bulk: list[int], data: st.DataObject
) -> None:
    times: list[int] = []
    for n, time in enumerate(bulk):
        times.append(time)
        if n % 13 in {5, 7, 8}:
            times.append(data.draw(st.sampled_from([0, NOW, NOW + DAY])))
    assert min(bulk) <= _progress(times).watermark <= max(bulk)


@given(st.lists(st.integers(0, NOW), min_size=1, max_size=60))
def test_watermark_of_ordered_events_never_falls_and_lags_at_most_12_events(
    times: list[int],
) -> None:
    times.sort()
    progress, before = SourceProgress(0, 0), 0
    for count, time in enumerate(times, 1):
        progress.advance(time, NOW, NOW)
        assert progress.watermark >= before
        before = progress.watermark
        assert before >= times[max(0, count - 12)]


@given(st.lists(st.integers(0, 10), min_size=1, max_size=60))
def test_watermark_of_events_stamped_at_reception_does_not_lag(steps: list[int]) -> None:
    progress, now = SourceProgress(0, 0), NOW
    for step in steps:
        now += step * HOUR
        progress.advance(now, now, now)
        assert progress.watermark == now


@given(st.lists(st.tuples(st.integers(0, 2 * NOW), st.integers(0, HOUR)), min_size=1, max_size=60))
def test_watermark_exceeds_neither_event_times_nor_receptions(
    events: list[tuple[int, int]],
) -> None:
    progress, received = SourceProgress(0, 0), NOW
    for time, pause in events:
        received += pause
        progress.advance(time, received, received)
        assert progress.watermark <= min(received, max(seen for seen, _ in events))


@given(st.integers(0, 2**32), st.integers(0, 600))
def test_events_disordered_within_the_grace_are_never_late(seed: int, grace: int) -> None:
    """No event is late for any order within the grace period."""
    chance = random.Random(seed)
    events = [NOW - DAY + n * chance.randrange(2, 60) * SECOND for n in range(80)]
    times = sorted(events, key=lambda time: time + chance.randrange(grace + 1) * SECOND)
    progress = SourceProgress(0, 0)
    for time in times:
        assert progress.watermark - grace * SECOND <= time
        progress.advance(time, NOW, NOW)


def test_watermark_uses_only_the_last_events() -> None:
    progress = _progress([NOW - 30 * DAY] * 40)
    for _ in range(RECENT):
        progress.advance(NOW, NOW, NOW)
    assert progress.watermark == NOW


def test_event_stamped_1970_does_not_stop_an_idle_version_from_closing() -> None:
    version = VersionProgress("tiny", "1")
    for time in (0, NOW, NOW + SECOND, NOW + 2 * SECOND):
        version.advance("s", time, max(time, NOW), max(time, NOW))
    later = NOW + HOUR
    assert version.idle_watermark({"s": later}, later) >= later - IDLE - SECOND


def test_progress_stored_by_an_earlier_release_follows_later_events() -> None:
    version = VersionProgress("tiny", "1", {"s": SourceProgress(NOW - DAY, NOW)}, lag=DAY)
    assert version.watermark(drained=False) == NOW - DAY
    assert version.idle_watermark({"s": NOW + HOUR}, NOW + HOUR) == NOW + HOUR - DAY - IDLE
    version.advance("s", NOW, NOW, NOW)  # an outlier
    assert version.watermark(drained=False) == NOW - DAY
    for _ in range(RECENT):
        version.advance("s", NOW - HOUR, NOW, NOW)
    assert version.watermark(drained=False) == NOW - HOUR


def test_backfill_after_silence_does_not_advance_the_watermark_beyond_its_times() -> None:
    """A backfill follows a silence of eight hours; its first event is an outlier."""
    version, before = VersionProgress("tiny", "1"), NOW - 8 * HOUR
    version.advance("s", NOW, NOW, before)
    for minute in range(3):
        time = NOW - 30 * DAY + minute * SECOND
        assert version.watermark(drained=False) <= before
        version.advance("s", time, NOW + minute * SECOND, before)
    version.advance("s", NOW - 30 * DAY, NOW + 60 * SECOND, NOW + 60 * SECOND)
    assert version.watermark(drained=False) <= NOW - 30 * DAY + 60 * SECOND
    assert version.idle_watermark({"s": NOW + HOUR}, NOW + HOUR) <= NOW - 30 * DAY + HOUR
