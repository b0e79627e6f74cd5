"""Retention bounds the monitor's database without changing results."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.results import LateCounts
from monitoring.scoring.report_retention import ReportRetention
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.windows.retention import Retention, advance, hour
from monitoring.windows.watermark import VersionProgress
from registry.manifest import Version
from telemetry.clock import DAY
from tests.depth import by_depth
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor, everything

pytestmark = pytest.mark.untraced

EIGHTH = 1 / 8  # of a day: three hours, the label_wait of the windows
BRIEF = Retention(
    late_days=EIGHTH,
    samples_days=2 * EIGHTH,
    results_days=8 * EIGHTH,
    early_labels_days=EIGHTH,
    minutes_days=EIGHTH,
    dead_letters=7,
)
ROWS_PER_WINDOW = 20  # five of them are sampled


def _find(model: str, number: str) -> Version:
    monitoring = VERSION.manifest.monitoring
    policy = replace(monitoring, window=replace(monitoring.window, max_rows=5))
    return replace(VERSION, manifest=replace(VERSION.manifest, monitoring=policy))


def _hours(count: int) -> Log:
    """Return hours of 20 rows, mostly labelled an hour later, with unusable and late events."""
    log = Log()
    for n in range(count * ROWS_PER_WINDOW):
        at = T0 + n * HOUR // ROWS_PER_WINDOW
        log.predict(at, f"p{n}", received=at)
        if n % 5 and n > ROWS_PER_WINDOW:
            log.tell(f"p{n - ROWS_PER_WINDOW}", n % 2, received=at)
        if n % 7 == 0:
            log.tell(f"nobody{n}", 1, received=at)
            log.predict(at, f"strange{n}", version="", outcome="invalid", received=at)
            log.damage()
        if n % 10 == 0:
            log.predict(max(T0, at - 4 * HOUR), f"late{n}", received=at)
    return log


def _monitor(where: DatabaseAddress, log: Log, limit: int = 50, **how: Any) -> Monitor:
    monitor = Monitor(where, log.records, find=_find, retention=BRIEF, **how)
    monitor.drain(limit)
    return monitor


def _sizes(where: DatabaseAddress) -> dict[str, int]:
    database = Database(where)
    names = ["predictions", "early_labels", "late", "windows", "results", "monitored"]
    names += ["dead_letters"]
    found = {name: database.one(f"SELECT count(*) FROM {name}") for name in [*names, "jobs"]}
    database.close()
    return {name: int(str(count[0])) for name, count in found.items() if count}


def test_database_size_is_bounded_for_any_number_of_windows(where: DatabaseAddress) -> None:
    _monitor(where, _hours(40)).database.close()
    after_forty = _sizes(where)
    _monitor(where, _hours(120)).database.close()
    after_all = _sizes(where)
    for name, rows in after_all.items():
        assert rows <= after_forty[name] * 1.1, name
    # Retained are the rows of windows that await labels or accept late labels, and the samples of
    # three more hours. Nothing is deleted early.
    assert 7 * ROWS_PER_WINDOW <= after_all["predictions"] <= 11 * ROWS_PER_WINDOW + 4 * 5
    totals = Store(where).totals()
    assert totals["rows_let_go"] > 100 * 15
    assert totals["sampled_rows_let_go"] > 100 * 5
    assert totals["expired_early_labels"] > 300
    assert totals["dead_letters"] == 7
    assert totals["dead_letters_let_go"] > 300


def test_database_file_stops_growing(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    sizes = []
    for hours in (by_depth(40, 60), by_depth(100, 180)):
        _monitor(path, _hours(hours)).database.close()
        sizes.append(path.stat().st_size)
    assert sizes[1] <= sizes[0] * 1.1


@pytest.mark.parametrize("limit", [3, 1000])
def test_deletion_does_not_depend_on_poll_sizes_or_crashes(
    where: DatabaseAddress, tmp_path: Path, limit: int
) -> None:
    calm = _found_after(tmp_path / "calm.db", limit=50)
    chance, deaths = random.Random(limit), 0
    for _ in range(5):
        monitor = Monitor(where, _hours(30).records, chance, find=_find, retention=BRIEF)
        deaths += monitor.dies(chance.randrange(1, 900), limit)
    assert deaths > 1
    assert _found_after(where, limit) == calm


def _found_after(where: DatabaseAddress, limit: int) -> dict[str, list[tuple[object, ...]]]:
    _monitor(where, _hours(30), limit).database.close()
    found, database = everything(where), Database(where)
    for table in ("predictions", "early_labels", "late", "monitored"):
        found[table] = sorted(database.all(f"SELECT * FROM {table}"), key=repr)
    database.close()
    return found


def _rows_of_one_hour() -> Log:
    log = Log()
    for n in range(ROWS_PER_WINDOW):
        log.predict(T0 + n, f"p{n}", received=T0)
    return log


def _pass_hours(log: Log, hours: int) -> None:
    """Append one row an hour, so that windows close and expire."""
    for n in range(1, hours + 1):
        log.predict(T0 + n * HOUR, f"later{n}", received=T0 + n * HOUR)


def _label_all(log: Log, hours: int) -> None:
    for n in range(ROWS_PER_WINDOW):
        log.tell(f"p{n}", 1, received=T0 + hours * HOUR)


def test_label_for_an_expired_window_is_late_for_sampled_and_other_rows(
    where: DatabaseAddress,
) -> None:
    log = _rows_of_one_hour()
    _pass_hours(log, 6)
    _label_all(log, 6)
    _monitor(where, log)
    totals = Store(where).totals()
    assert (totals["late_labels"], totals["unknown_labels"]) == (ROWS_PER_WINDOW, 0)


def test_label_for_a_deleted_row_is_unknown_for_sampled_and_other_rows(
    where: DatabaseAddress,
) -> None:
    log = _rows_of_one_hour()
    _pass_hours(log, 8)
    _label_all(log, 8)
    _monitor(where, log)
    store = Store(where)
    totals = store.totals()
    assert (totals.get("late_labels", 0), totals["unknown_labels"]) == (0, ROWS_PER_WINDOW)
    assert len(store.rows("tiny", "1", store.results("tiny", "1")[0].window)) == 5


def test_late_events_are_counted_by_version_and_window(where: DatabaseAddress) -> None:
    log = _rows_of_one_hour()
    _pass_hours(log, 6)
    for n, rows in [(0, 3), (0, 1), (2, 5)]:
        log.predict(T0 + n * HOUR + rows, f"late{n}-{rows}", rows=rows, received=T0 + 6 * HOUR)
    log.predict(T0, "refused", outcome="invalid", rows=0, inputs={}, outputs={}, received=T0)
    _monitor(where, log)
    store = Store(where)
    windows = [result.window for result in store.results("tiny", "1")[:3]]
    reported = [store.late("tiny", "1", window) for window in windows]
    assert reported == [LateCounts(events=3, rows=4), LateCounts(), LateCounts(events=1, rows=5)]
    assert store.late("tiny", "1") == LateCounts(events=4, rows=9)
    assert store.late("tiny", "2") == LateCounts()
    journal = Journal(Database(where))
    for _ in range(2):
        with journal.database.transaction():
            journal.compact_late(("tiny", "1"), windows[1].start)
        reported = [store.late("tiny", "1", window) for window in windows]
        assert reported == [LateCounts(), LateCounts(), LateCounts(events=1, rows=5)]
        assert store.late("tiny", "1") == LateCounts(events=4, rows=9), "the total is unchanged"
    assert [result.rows for result in store.results("tiny", "1")[:3]] == [ROWS_PER_WINDOW, 1, 1]


def test_row_older_than_the_retention_is_counted_and_deleted(
    where: DatabaseAddress,
) -> None:
    log = _rows_of_one_hour()
    _pass_hours(log, 8)
    log.predict(T0, "from long ago", received=T0 + 8 * HOUR)
    log.predict(T0 + 5 * HOUR, "late", received=T0 + 8 * HOUR)
    for name in ("from long ago", "late"):
        log.tell(name, 1, received=T0 + 8 * HOUR)
    _monitor(where, log)
    totals = Store(where).totals()
    assert (totals["late_rows"], totals["late_labels"], totals["unknown_labels"]) == (2, 1, 1)


def test_sample_of_a_window_is_deleted_later_than_its_other_rows(where: DatabaseAddress) -> None:
    log = _rows_of_one_hour()
    _pass_hours(log, 12)
    monitor = _monitor(where, log)
    store = Store(where)
    assert store.rows("tiny", "1", store.results("tiny", "1")[0].window).empty
    left = monitor.database.all("SELECT prediction_id FROM predictions WHERE start = :t", t=T0)
    assert left == []


def test_early_label_expires_after_its_retention(
    where: DatabaseAddress,
) -> None:
    log = Log()
    for name in ("soon", "after all"):
        log.tell(name, 1, received=T0)
    log.predict(T0, "soon", received=T0 + 3 * HOUR)
    later = T0 + 4 * HOUR
    log.predict(T0, "anything", version="", outcome="invalid", received=later)
    log.predict(T0, "after all", received=later + HOUR // 60)  # a second event confirms the clock
    _monitor(where, log)
    store = Store(where)
    assert [live.labelled for live in store.live("tiny", "1")] == [1]
    totals = store.totals()
    assert (totals["unknown_labels"], totals["expired_early_labels"]) == (0, 1)


def test_window_that_awaits_no_labels_retains_only_its_last_result(where: DatabaseAddress) -> None:
    log = _rows_of_one_hour()
    for received in (T0 + 2 * HOUR, T0 + 2 * HOUR + HOUR // 60):
        log.pass_time(T0 + 2 * HOUR, received=received)
    _label_all(log, 2)
    monitor = _monitor(where, log)
    found = monitor.database.all("SELECT revision FROM results WHERE start = :t", t=T0)
    result = Store(where).result("tiny", "1", T0)
    assert result is not None
    assert (result.revision, result.labelled) == (5, ROWS_PER_WINDOW), (
        "revised with every fifth of the labels"
    )
    assert found == [(5,)]


def test_old_delivered_webhook_is_deleted(
    where: DatabaseAddress,
) -> None:
    monitor = _monitor(where, _rows_of_one_hour())
    journal = monitor.journal
    with monitor.database.transaction():
        for name, created in [("sent", 1), ("pending", 2), ("sent lately", 3)]:
            journal.add_delivery(name, b"{}", created)
    store = Store(where)
    for name in ("sent", "sent lately"):
        store.delivered(name)
    with monitor.database.transaction():
        assert journal.delete_deliveries(3) == 1
    assert {one.webhook_id for one in store.deliveries()} == {"pending", "sent lately"}


def test_reports_are_deleted_by_age_once_an_hour(tmp_path: Path) -> None:
    now = [1_000_000.0]
    old = ReportRetention(tmp_path, days=1, clock=lambda: now[0])
    for name, age in [("old.html", 90_000), ("fresh.html", 80_000), ("other.txt", 90_000)]:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (now[0] - age, now[0] - age))
    old.delete_expired()
    assert {path.name for path in tmp_path.iterdir()} == {"fresh.html", "other.txt"}
    now[0] += 3_599
    os.utime(tmp_path / "fresh.html", (0, 0))
    old.delete_expired()
    assert (tmp_path / "fresh.html").exists()
    now[0] += 1
    old.delete_expired()
    assert not (tmp_path / "fresh.html").exists()


times = st.integers(0, 10**16)
days = st.floats(0, 1_000)


@given(st.lists(st.tuples(times, times), min_size=1), days, days)
def test_retention_horizons_only_advance_and_never_pass_expired_windows(
    reported: list[tuple[int, int]], late: float, samples: float
) -> None:
    watch, kept = VersionProgress("tiny", "1"), Retention(late_days=late, samples_days=samples)
    watch.recent = sorted(expired for expired, _ in reported)
    furthest = 0
    for expired, ended in reported:
        before = watch.rows_until, watch.samples_until
        advance(watch, kept, expired, ended)
        furthest = max(furthest, expired)
        assert before <= (watch.rows_until, watch.samples_until)
        assert watch.samples_until <= watch.rows_until <= furthest
        assert all(start >= watch.samples_until for start in watch.recent)


@given(times, st.floats(0, 100))
def test_retention_keeps_the_stated_days_and_at_most_an_hour_more(
    received: int, kept: float
) -> None:
    until = hour(received, kept)
    assert until <= received - int(kept * DAY) < until + HOUR
