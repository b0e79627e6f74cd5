"""Outliers and wrong clocks affect no window, live or replayed.

Two workers of one host write real segments. A monitor follows the segments as they are written,
and another monitor reads them afterwards, as `driftline replay` does.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentReader, SegmentWriter
from monitoring.backtest import replay_log
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import (
    HOUR,
    RECEIVED,
    T0,
    FakeScorer,
    Log,
    Monitor,
    everything,
    find_row,
)

pytestmark = pytest.mark.untraced

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * HOUR


class Worker(Log):
    """A log that writes to the segments of its own source."""

    def __init__(self, writer: SegmentWriter) -> None:
        super().__init__(writer.source)
        self._writer = writer

    def _stamp(self) -> dict[str, Any]:
        writer = self._writer
        return {"source": writer.source, "epoch": writer.epoch, "sequence": writer.next_sequence}

    def _append(self, event: PredictionEvent | FeedbackEvent) -> None:  # type: ignore[override]
        self._writer.append([event])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def workers(folder: Path) -> Iterator[list[Worker]]:
    with (
        closing(SegmentWriter.claim(folder, "host")) as one,
        closing(SegmentWriter.claim(folder, "host")) as two,
    ):
        yield [Worker(one), Worker(two)]


def _follower(where: Path, folder: Path) -> Monitor:
    return Monitor(where, [], follow=lambda at: SegmentReader(folder, at))


def _monitored(tmp_path: Path, folder: Path, write: Callable[[], Iterator[None]]) -> Store:
    """Monitor the log live while `write` writes it; check that a replay stores the same."""
    live, replayed = tmp_path / "live.db", tmp_path / "replayed.db"
    follower = _follower(live, folder)
    for _ in write():
        follower.drain(limit=7)
    follower.drain()
    _follower(replayed, folder).drain()
    assert everything(live) == everything(replayed)
    return Store(live)


def _three_hours(workers: list[Worker], by: int, wrong: range) -> Iterator[None]:
    """Write a request every 5 s, labelled half an hour later; clocks are wrong in `wrong`."""
    for second in range(0, 3 * 3_600, 5):
        worker = workers[second // 5 % 2]
        clock = T0 + second * SECOND + (by if second in wrong else 0)
        worker.predict(clock, f"p{second}", received=clock)
        if second >= 1_800:
            worker.tell(f"p{second - 1_800}", 1, received=clock)
        if second % 60 == 0:
            yield


@pytest.mark.parametrize(
    ("by", "wrong"),
    [(0, range(0)), (3 * HOUR, range(4_800, 4_812)), (30 * DAY, range(4_800, 4_808))],
    ids=["right", "3 hours ahead for 12 s", "30 days ahead for 8 s"],
)
def test_clock_wrong_for_seconds_makes_no_event_late_and_expires_no_row(
    tmp_path: Path, folder: Path, workers: list[Worker], by: int, wrong: range
) -> None:
    moved = len([second for second in wrong if second % 5 == 0])
    store = _monitored(tmp_path, folder, lambda: _three_hours(workers, by, wrong))
    totals = store.totals()
    assert totals.get("late_rows", 0) == totals.get("late_labels", 0) == 0
    assert totals.get("unknown_labels", 0) == 0
    assert not [name for name in totals if name.startswith("rows_")], "no row has expired"
    found = {result.window.start: result for result in store.results("tiny", "1")}
    assert {start: result.rows for start, result in found.items()} == {
        T0: 720,
        T0 + HOUR: 720 - moved,
    }
    assert found[T0].labelled == 720


def _backfill(
    workers: list[Worker], is_stray: Callable[[int], bool], every: int = MINUTE
) -> Iterator[None]:
    """Write ten old hours, received within minutes; strays have their reception as event time."""
    for n in range(10 * HOUR // every):
        received = RECEIVED + n * SECOND // 2
        worker = workers[n % 2]
        if is_stray(n):
            worker.predict(received, f"stray{n}", received=received)
        worker.predict(T0 + n * every, f"p{n}", received=received)
        if n % 40 == 0:
            yield


@pytest.mark.parametrize(
    "is_stray",
    [
        lambda n: False,
        lambda n: n == 0,
        lambda n: n == 1,
        lambda n: n == 250,
        lambda n: n % 20 < 2,  # each worker has one stray in eleven events
    ],
    ids=["none", "the first", "the second", "one of the others", "many"],
)
def test_request_without_event_time_makes_no_backfilled_event_late(
    tmp_path: Path, folder: Path, workers: list[Worker], is_stray: Callable[[int], bool]
) -> None:
    store = _monitored(tmp_path, folder, lambda: _backfill(workers, is_stray))
    assert store.totals().get("late_rows", 0) == 0
    rows = {result.window.start: result.rows for result in store.results("tiny", "1")}
    assert rows == {T0 + hour * HOUR: 60 for hour in range(9)}


def test_first_request_stamped_1970_does_not_stop_windows_from_closing(
    tmp_path: Path, folder: Path, workers: list[Worker]
) -> None:
    def write() -> Iterator[None]:
        workers[0].predict(0, "1970", received=T0)
        for second in range(0, 1_800, 60):
            for worker in workers:
                clock = T0 + second * SECOND
                worker.predict(clock, f"{worker.source}-{second}", received=clock)
        yield
        for second in range(1_800, 6_000, 60):  # later the workers write only labels
            for worker in workers:
                worker.tell(f"{worker.source}-0", 1, received=T0 + second * SECOND)
        yield

    store = _monitored(tmp_path, folder, write)
    assert [result.rows for result in store.results("tiny", "1")][-1] == 60


def test_repair_corrects_windows_closed_early_and_monitoring_continues(
    tmp_path: Path, folder: Path, workers: list[Worker]
) -> None:
    """Clocks are three hours ahead for three minutes, too long to be taken for outliers."""
    live, repaired = tmp_path / "live.db", tmp_path / "repaired.db"
    writing = _three_hours(workers, 3 * HOUR, range(4_800, 4_980))
    for _ in zip(range(150), writing, strict=False):
        pass
    _follower(live, folder).drain()
    assert Store(live).totals()["late_rows"] > 100
    database = Database(repaired)
    journal = Journal(database)
    state = ConsumerState(journal, find_row)
    reader = SegmentReader(folder, {})
    replay_log(reader, journal, state, FakeScorer(), Event(), repair=True)
    reader.close()
    database.close()
    for _ in writing:
        pass
    _follower(repaired, folder).drain()
    store = Store(repaired)
    assert store.totals().get("late_rows", 0) == 0
    rows = {result.window.start: result.rows for result in store.results("tiny", "1")}
    assert rows == {T0: 720, T0 + HOUR: 720 - 180 // 5}
    assert [one for one in store.deliveries() if one.state == "pending"] == []
