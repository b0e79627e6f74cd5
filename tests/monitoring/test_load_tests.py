"""Load tests are counted, and belong to no window."""

from pathlib import Path

from msgspec.structs import replace

from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import HOUR, T0, Log, Monitor


def test_events_of_a_load_test_are_counted_and_in_no_window(tmp_path: Path) -> None:
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


def test_rows_of_files_and_shadows_are_counted_and_in_no_window(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
    for protocol in ("batch", "shadow"):
        for n in range(10):  # long after: they move no watermark either
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
