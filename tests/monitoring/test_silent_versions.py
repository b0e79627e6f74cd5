"""A version without further requests still has its last windows closed and labels awaited."""

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from monitoring.results import Result
from monitoring.storage.store import Store
from monitoring.windows.watermark import GONE, IDLE
from registry.errors import UnknownModel
from registry.manifest import Version
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor, everything

pytestmark = pytest.mark.untraced

MINUTE = HOUR // 60
GRACE = 10 * MINUTE
CLOSED = T0 + 2 * HOUR + GRACE + IDLE  # the reception at which the second hour can be closed


def _find(model: str, number: str) -> Version:
    if model != "tiny":
        raise UnknownModel(model)
    return replace(VERSION, number=number)


def _predict(log: Log, version: str, time: int, lag: int = 0, **changes: Any) -> None:
    name = f"{log.source}-{version}-{time}"
    log.predict(time, name, version=version, received=time + lag, **changes)


def _succession(hours: int) -> Log:
    """Return two hours of requests to version 1, then requests to version 2 on the same worker."""
    log = Log()
    for minute in range(2 * 60):
        _predict(log, "1", T0 + minute * MINUTE)
    for minute in range(2 * 60, hours * 60):
        time = T0 + minute * MINUTE
        _predict(log, "2", time)
        if minute % 3 == 0:  # labels of version 1 arrive three hours later
            log.tell(f"s-0-1-{time - 3 * HOUR}", 1, received=time)
    return log


def _last(where: Path) -> Result:
    return Store(where).results("tiny", "1")[-1]


def _monitored(where: Path, log: Log) -> Store:
    Monitor(where, log.records, find=_find).drain()
    return Store(where)


def test_last_window_closes_as_the_log_continues(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for time in (T0, T0 + HOUR, T0 + 2 * HOUR - MINUTE):
        _predict(log, "1", time)
    _predict(log, "2", CLOSED - MINUTE)
    assert len(_monitored(where, log).results("tiny", "1")) == 1
    _predict(log, "2", CLOSED)
    store = _monitored(where, log)
    assert [result.rows for result in store.results("tiny", "1")] == [1, 2]
    assert store.live("tiny", "1") == []


def test_last_window_closes_by_heartbeats_without_requests(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "monitor.db"
    for time in (T0, T0 + HOUR, T0 + 2 * HOUR - MINUTE):
        _predict(log, "1", time)
    for time in range(T0 + 2 * HOUR, CLOSED, MINUTE):
        log.beat(time)
    assert len(_monitored(where, log).results("tiny", "1")) == 1
    log.beat(CLOSED)
    store = _monitored(where, log)
    assert [result.rows for result in store.results("tiny", "1")] == [1, 2]
    assert (store.totals()["monitored_events"], store.totals()["heartbeats"]) == (3, 12)


def test_labels_revise_the_last_window_until_they_expire(tmp_path: Path) -> None:
    where = tmp_path / "monitor.db"
    _monitored(where, _succession(4))
    assert (_last(where).labelled, _last(where).pending, _last(where).expired) == (0, 60, 0)
    _monitored(where, _succession(6))
    assert (_last(where).labelled, _last(where).pending, _last(where).expired) == (20, 0, 40)


def test_event_with_its_usual_delay_is_not_late(tmp_path: Path) -> None:
    """A nightly batch predicts the previous day; another version serves requests at once."""
    log, lag, last = Log(), 20 * HOUR, T0 + 2 * HOUR - MINUTE
    _predict(log, "1", T0, lag)
    for reception in range(T0 + lag + MINUTE, last + lag, 5 * MINUTE):
        _predict(log, "2", reception)
    _predict(log, "1", last, lag)
    store = _monitored(tmp_path / "monitor.db", log)
    assert store.totals().get("late_events", 0) == 0


def test_source_that_has_ended_delays_its_versions_for_at_most_an_hour(tmp_path: Path) -> None:
    gone, left, where = Log("gone"), Log("left"), tmp_path / "monitor.db"
    for time in (T0, T0 + 2 * HOUR - MINUTE):
        _predict(gone, "1", time)
    _predict(left, "2", CLOSED + GONE - MINUTE)
    Monitor(where, [*gone.records, *left.records], find=_find).drain()
    assert len(Store(where).results("tiny", "1")) == 1
    _predict(left, "2", CLOSED + GONE)
    Monitor(where, [*gone.records, *left.records], find=_find).drain()
    assert len(Store(where).results("tiny", "1")) == 2


@pytest.mark.parametrize("seed", range(4))
def test_monitor_killed_at_any_statement_reports_the_same_results(
    tmp_path: Path, seed: int
) -> None:
    calm, where, records = tmp_path / "calm.db", tmp_path / "monitor.db", _succession(7).records
    Monitor(calm, records, find=_find).drain()
    chance, deaths = random.Random(seed), 0
    for _ in range(8):
        monitor = Monitor(where, records, chance, find=_find)
        deaths += monitor.dies(chance.randrange(1, 300), chance.choice([2, 15, 60]))
    assert deaths > 2
    Monitor(where, records, chance, find=_find).drain()
    assert everything(where) == everything(calm)


def test_clock_that_is_years_ahead_closes_no_window(tmp_path: Path) -> None:
    log = Log()
    for time in (T0, T0 + HOUR - MINUTE):
        _predict(log, "1", time)
    _predict(log, "2", T0 + 100 * 365 * 24 * HOUR)
    log.tell("unknown", 1, received=T0 + 100 * 365 * 24 * HOUR)
    store = _monitored(tmp_path / "monitor.db", log)
    assert [state.rows for state in store.live("tiny", "1")] == [2]
    assert store.live("tiny", "2") == []
    reasons = {letter.reason for letter in store.dead_letters(10)}
    (reason,) = {reason.split(" ", 3)[3] for reason in reasons}
    assert reason == "is more than a day ahead of the monitor's clock"
