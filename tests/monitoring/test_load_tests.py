"""Events of load tests, batches and shadows are counted but belong to no window."""

from pathlib import Path

from msgspec.structs import replace

from monitoring.storage.store import Store
from monitoring.web.metrics.batch_days import batch_metrics
from tests.monitoring.log_in_memory import HOUR, RECEIVED, T0, Log, Monitor

DAY = 24 * HOUR


def test_load_test_events_are_counted_but_in_no_window(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
        log.predict(T0 + 5 * HOUR, f"load{n}", load_test=True)
        log.tell(f"load{n}", 1)
        event = replace(log.records[-1].event, load_test=True)
        log.records[-1] = replace(log.records[-1], event=event)
    Monitor(where, log.records).drain()
    store = Store(where)
    (live,) = store.live("tiny", "1")
    assert (live.window.start, live.rows) == (T0, 20)
    totals = store.totals()
    assert totals["load_test_events"] == 40
    assert totals.get("labels", 0) == totals.get("late_rows", 0) == totals["unknown_labels"] == 0
    (ledger,) = store.ledger()
    assert ledger.events == 60


def test_batch_and_shadow_rows_are_counted_but_in_no_window(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
    for protocol in ("batch", "shadow"):
        for n in range(10):  # much later, to show that they move no watermark
            log.predict(T0 + 500 * HOUR, f"{protocol}{n}", protocol=protocol)
    Monitor(where, log.records).drain()
    store = Store(where)
    (live,) = store.live("tiny", "1")
    assert (live.window.start, live.rows) == (T0, 20)
    totals = store.totals()
    assert (totals["batch_events"], totals["shadow_rows"]) == (10, 10)
    assert totals["predictions_ok"] == 20
    (ledger,) = store.ledger()
    assert (ledger.events, ledger.lost) == (40, 0)


def test_batch_rows_are_counted_by_version_and_day(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    log.predict(T0, "online")
    counts = {"price": {"outside": 2, "missing": 1}, "prediction": {"0": 3, "1": 1}}
    for hour in (0, 1, 30):
        received = RECEIVED // DAY * DAY + hour * HOUR
        log.predict(T0, f"batch{hour}", received=received, protocol="batch", rows=4, counts=counts)
    Monitor(where, log.records[:2]).drain()
    Monitor(where, log.records).drain()  # a restart counts nothing twice
    store = Store(where)
    days = store.batch_days("tiny", "1", last=10)
    assert [(day.events, day.rows, day.counted) for day in days.values()] == [(1, 4, 4), (2, 8, 8)]
    assert days[min(days)].counts == {
        "prediction": {"0": 6, "1": 2}, "price": {"missing": 2, "outside": 4},
    }  # fmt: skip
    assert list(days) == sorted(days, reverse=True)
    (live,) = store.live("tiny", "1")
    assert live.rows == 1


def test_batch_only_model_is_monitored_by_its_newest_day(
    tmp_path: Path,
) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for hour, outside in ((1, 0), (30, 3)):
        received = RECEIVED // DAY * DAY + hour * HOUR
        counts = {"price": {"outside": outside}, "colour": {"outside": 1, "missing": 4}}
        log.predict(T0, f"b{hour}", received=received, protocol="batch", rows=4, counts=counts)
    Monitor(where, log.records).drain()
    store = Store(where)
    values = {
        f"{sample.name}{tuple(sample.labels.values())}": sample.value
        for metric in batch_metrics(store.newest_batch_days(0))
        for sample in metric.samples
    }
    assert values == {
        "driftline_batch_day_rows('tiny', '1')": 4,
        "driftline_batch_day_failed_chunks('tiny', '1')": 0,
        "driftline_batch_day_outside_share('tiny', '1')": 0.75,
    }
    assert store.newest_batch_days(RECEIVED + 9 * DAY) == {}, "the last batch is too old"
