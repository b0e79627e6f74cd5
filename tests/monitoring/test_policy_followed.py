"""`driftline monitor` as an idle process whose policy is changed."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.events import PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.results import Result
from monitoring.storage.store import Store
from monitoring.windows.watermark import RECENT
from registry.policies import PolicyChange, digest
from registry.store import Registry
from tests.crash import kill_session
from tests.preloaded import Command, run
from tests.tiny_model import register_tiny

HOUR = 3_600_000_000
NOW = time.time_ns() // 1_000
CURRENT_HOUR = NOW // HOUR * HOUR


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    return Home(tmp_path / "home")


@pytest.fixture
def registry(home: Home, tmp_path: Path) -> Registry:
    registry = Registry(home)
    watched = {"window": {"length": 3600, "grace": 0}, "alarms": {"min_rows": 50}}
    register_tiny(registry, tmp_path / "files", monitoring=watched)
    return registry


@pytest.fixture
def writer(home: Home) -> Iterator[SegmentWriter]:
    writer = SegmentWriter.claim(home.log, "serving", LogSettings())
    yield writer
    writer.close()


class Running:
    """A monitor process that is killed at the end of the test."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self._process = Command(
                [sys.executable, "-m", "driftline", "monitor", "--port", "0"],
                stderr=file,
                start_new_session=True,  # so that its scoring process can be killed with it
            )

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not done():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)

    def wait_for_log(self, words: str) -> None:
        self.until(lambda: words in self._log.read_text())

    def kill(self) -> None:
        kill_session(self._process)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Running]]:
    running: list[Running] = []

    def start() -> Running:
        running.append(Running(tmp_path / f"log-{len(running)}"))
        return running[-1]

    yield start
    for monitor in running:
        monitor.kill()


def append_request(writer: SegmentWriter, hour: float, **changes: Any) -> None:
    """Append a request so many hours after the current hour's start."""
    time = CURRENT_HOUR + int(hour * HOUR)
    place: dict[str, Any] = {"source": writer.source, "epoch": writer.epoch}
    fields: dict[str, Any] = {
        "sequence": writer.next_sequence,
        "time": time,
        "received": max(time, NOW),
        "prediction_id": f"p{writer.next_sequence}",
        "model": "tiny",
        "version": "1",
        "protocol": "rest",
        "outcome": "ok",
        "rows": 1,
        "inputs": {
            "price": Tensor("FP32", [1, 1], [0.5]),
            "colour": Tensor("BYTES", [1, 1], ["red"]),
        },
        "outputs": {
            "label": Tensor("INT64", [1], [1]),
            "probabilities": Tensor("FP32", [1, 2], [0.2, 0.8]),
        },
    }
    writer.append([PredictionEvent(**place, **(fields | changes))])


def pass_time(writer: SegmentWriter, hour: float) -> None:
    """Append four minutes of refused requests."""
    for n in range(RECENT):
        append_request(writer, hour + n / 240, outcome="refused", rows=0, inputs={}, outputs={})


def stored_results(home: Home) -> list[Result]:
    store = Store(home.monitor)
    try:
        return store.results("tiny", "1")
    finally:
        store.close()


def test_running_monitor_applies_a_policy_change_and_replay_agrees(
    home: Home,
    registry: Registry,
    writer: SegmentWriter,
    start: Callable[[], Running],
    tmp_path: Path,
) -> None:
    append_request(writer, -2)
    append_request(writer, 0)
    pass_time(writer, 0)
    monitor = start()
    monitor.until(lambda: home.monitor.exists() and len(stored_results(home)) == 1)
    change = PolicyChange({"window": {"length": 1800}, "alarms": {"min_rows": 1}}, "a trial")
    registry.change_policy("tiny", "1", change, actor="ada")
    first, last = (digest(held.policy) for held in registry.policies(registry.version("tiny", "1")))
    monitor.wait_for_log(f"tiny version 1 is monitored by policy {last}")
    monitor.kill()
    monitor = start()
    for hour in (3, 3.6):
        append_request(writer, hour)
    pass_time(writer, 5)
    monitor.until(lambda: sum(result.rows for result in stored_results(home)) == 4)
    results = [result for result in stored_results(home) if result.rows]
    assert [result.policy for result in results] == [first, first, last, last]
    lengths = [result.window.end - result.window.start for result in results]
    assert lengths == [HOUR, HOUR, HOUR // 2, HOUR // 2]
    monitor.kill()
    command = [sys.executable, "-m", "driftline", "replay", "--into", str(tmp_path / "again")]
    replay = run(command, timeout=400)
    assert "recomputed, 0 differ" in replay.stdout, replay.stdout + replay.stderr
