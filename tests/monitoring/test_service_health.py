"""Service health from the log: errors, latency and label delay."""

import math
import random
from pathlib import Path

import msgspec
import pytest

from eventlog.events import FeedbackEvent, Tensor
from monitoring.results import Result
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import HOUR, RECEIVED, T0, Log, Monitor, everything

SECOND = 1_000_000


class TimedLog(Log):
    """A log whose labels have their own event times."""

    def label_at(self, name: str, label: int, time: int) -> None:
        fields = {"time": time, "received": RECEIVED, "prediction_id": name, "label": label}
        self._append(FeedbackEvent(**self._stamp(), **fields))


def _log() -> TimedLog:
    log = TimedLog()
    log.label_at("p0", 1, T0 + 100 * SECOND)  # before its prediction
    for n in range(20):
        log.predict(T0 + n, f"p{n}", total_us=1000 * (n + 1))
    log.predict(T0, "bad", outcome="failed", rows=0, inputs={}, outputs={})
    for n in range(1, 10):
        log.label_at(f"p{n}", 1, T0 + 100 * SECOND)
    log.label_at("p11", 1, -(2**80))
    log.label_at("p12", 1, 2**80)
    log.pass_time(T0 + 3 * HOUR)
    return log


def _first(path: Path) -> Result:
    return Store(path).results("tiny", "1")[0]


def test_result_has_error_share_latency_and_label_delay(tmp_path: Path) -> None:
    Monitor(tmp_path / "m.db", _log().records).drain()
    reported = {score.name: score.value for score in _first(tmp_path / "m.db").scores}
    assert reported["error_share"] == pytest.approx(1 / 21)
    assert reported["latency_p50"] == pytest.approx(0.010, rel=1 / 16)
    assert reported["latency_p99"] == pytest.approx(0.020, rel=1 / 16)
    assert reported["label_delay_p50"] == pytest.approx(100, rel=1 / 16)


def test_counts_do_not_depend_on_order_or_duplicates(tmp_path: Path) -> None:
    straight = _log().records
    Monitor(tmp_path / "a.db", straight).drain()
    chance = random.Random(3)
    body = straight[1:21]
    chance.shuffle(body)
    shuffled = [
        msgspec.structs.replace(record, sequence=place)
        for place, record in enumerate([straight[0], *body, *straight[21:]])
    ]
    Monitor(tmp_path / "b.db", shuffled, chance).drain(7)
    assert everything(tmp_path / "a.db")["windows"] == everything(tmp_path / "b.db")["windows"]


def test_window_with_only_errors_has_an_error_share(tmp_path: Path) -> None:
    log = Log()
    for n in range(3):
        log.predict(T0, f"bad{n}", outcome="failed", rows=0, inputs={}, outputs={})
    log.pass_time(T0 + 3 * HOUR)
    Monitor(tmp_path / "m.db", log.records).drain()
    reported = {score.name: score for score in _first(tmp_path / "m.db").scores}
    assert reported["error_share"].value == 1
    assert reported["latency_p50"].note == "no request was answered"


def test_score_job_contains_the_order_of_rows_in_time(tmp_path: Path) -> None:
    log = Log()
    for n in (5, 3, 9, 1):
        log.predict(T0 + n, f"p{n}", inputs={"x": Tensor("FP32", [1, 1], [n])})
    log.pass_time(T0 + 3 * HOUR)
    monitor = Monitor(tmp_path / "m.db", log.records)
    monitor.drain()
    job = monitor.scorer.jobs[0]
    assert [job.columns["x"][at] for at in job.order] == [1, 3, 5, 9]


def test_infinities_are_scored_and_exported_unchanged(tmp_path: Path) -> None:
    log = Log()
    for n, data in enumerate((["Infinity", 1.5], ["-Infinity", None], [2.5, 3.5])):
        log.predict(T0 + n, f"p{n}", rows=2, inputs={"x": Tensor("FP32", [2, 1], data)})
    log.pass_time(T0 + 3 * HOUR)
    monitor = Monitor(tmp_path / "m.db", log.records)
    monitor.drain()
    reported = monitor.scorer.jobs[0].columns["x"]
    assert sorted(map(str, reported)) == ["-Infinity", "1.5", "2.5", "3.5", "Infinity", "None"]
    window = _first(tmp_path / "m.db").window
    frame = Store(tmp_path / "m.db").rows("tiny", "1", window)
    assert sorted(frame["x"].dropna()) == [-math.inf, 1.5, 2.5, 3.5, math.inf]
    assert frame["x"].dtype == float
