"""The log is ingested while windows are scored, and queued windows do not fill the memory."""

import random
import threading
from collections import defaultdict, deque
from pathlib import Path
from queue import SimpleQueue

import pytest
from msgspec.structs import replace

import monitoring.scoring.queue
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from registry.manifest import Version
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    VERSION,
    FakeScorer,
    Log,
    Monitor,
    eight_hours,
    everything,
)

pytestmark = pytest.mark.untraced


class BlockedScorer(FakeScorer):
    """Scores in its own thread, which blocks before every window until `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.submitted: list[ScoreJob] = []
        self._queue: SimpleQueue[ScoreJob] = SimpleQueue()
        self._done: SimpleQueue[list[ScoreReply]] = SimpleQueue()
        threading.Thread(target=self._score, daemon=True).start()

    def submit(self, job: ScoreJob) -> None:
        self.submitted.append(job)
        self._queue.put(job)

    def replies(self) -> list[ScoreReply]:
        done: list[ScoreReply] = []
        while not self._done.empty():
            done += self._done.get()
        return done

    def _score(self) -> None:
        while True:
            job = self._queue.get()
            self.released.wait()
            super().submit(job)
            self._done.put(super().replies())


@pytest.fixture
def calm(where: DatabaseAddress) -> dict[str, list[tuple[object, ...]]]:
    """Return the tables if scoring takes no time."""
    other = where if isinstance(where, str) else where.with_name("calm.db")
    Monitor(other, eight_hours().records).drain()
    found = everything(other)
    if other == where:
        database = Database(where)
        with database.transaction():
            for (table,) in database.all(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = current_schema() AND table_name <> 'monitor_revision'"
            ):
                database.do(f"DELETE FROM {table}")
        database.close()
    return found


def _ingest(monitor: Monitor, log: Log) -> None:
    """Step until the log is read to its end, while windows are still being scored."""
    while monitor.consumer.step(20) or not monitor.consumer.drained:
        pass
    assert monitor.consumer.positions()[log.source].sequence == len(log.records)


def _ingested(where: DatabaseAddress) -> int:
    totals = Store(where).totals()
    return totals["monitored_events"] + totals["heartbeats"]


def test_whole_log_is_ingested_while_the_first_window_is_scored(
    where: DatabaseAddress, calm: dict[str, list[tuple[object, ...]]]
) -> None:
    log, scorer = eight_hours(), BlockedScorer()
    monitor = Monitor(where, log.records, scorer=scorer)
    _ingest(monitor, log)
    totals = Store(where).totals()
    assert _ingested(where) == len(log.records), "committed and visible to readers"
    assert totals["waiting_scores"] > 10
    assert Store(where).results("tiny", "1") == []
    scorer.released.set()
    monitor.drain()
    assert everything(where) == calm


def test_only_a_few_queued_windows_are_in_memory(
    where: DatabaseAddress,
    calm: dict[str, list[tuple[object, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitoring.scoring.queue, "IN_HAND", 1)
    log, scorer = eight_hours(), BlockedScorer()
    monitor = Monitor(where, log.records, scorer=scorer)
    _ingest(monitor, log)
    assert len(scorer.submitted) == 1
    assert Store(where).totals()["waiting_scores"] > 10
    scorer.released.set()
    monitor.drain()
    assert everything(where) == calm


def test_ingestion_slows_down_while_too_many_windows_are_queued(
    where: DatabaseAddress, calm: dict[str, list[tuple[object, ...]]]
) -> None:
    log, scorer = eight_hours(), BlockedScorer()
    monitor = Monitor(where, log.records, scorer=scorer, most_waiting=1)
    while monitor.consumer.step(20):
        pass
    before = Store(where).totals()
    assert before["waiting_scores"] > 0
    ingested = _ingested(where)
    assert ingested < len(log.records) - 100
    assert not monitor.consumer.step(20), "the step reports that it may pause"
    assert _ingested(where) == ingested + 1
    scorer.released.set()
    monitor.drain()
    assert everything(where) == calm
    assert Store(where).totals()["waiting_scores"] == 0


class Unordered(FakeScorer):
    """Returns each model's replies in order, and the models in random order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._of_model: dict[str, deque[ScoreReply]] = defaultdict(deque)

    def submit(self, job: ScoreJob) -> None:
        super().submit(job)
        self._of_model[job.model] += super().replies()

    def replies(self) -> list[ScoreReply]:
        ready = [replies for replies in self._of_model.values() if replies]
        return [self._chance.choice(ready).popleft()] if ready else []


def _three_models() -> Log:
    log = Log()
    for n in range(300):
        time, model = T0 + n * HOUR // 40, "abc"[n % 3]
        log.predict(time, f"p{n}", model=model)
        if n >= 60:
            log.tell(f"p{n - 60}", n % 2)
    return log


def _scored(where: Path, scorer: FakeScorer) -> dict[str, list[tuple[object, ...]]]:
    def find(model: str, number: str) -> Version:
        return replace(VERSION, model=model)

    Monitor(where, _three_models().records, scorer=scorer, find=find).drain()
    database = Database(where)
    queries = (
        "SELECT * FROM results",
        "SELECT * FROM streaks",
        "SELECT alarm_id, body FROM alarms",
        "SELECT webhook_id, body FROM outbox",
    )
    found = {query: sorted(database.all(query), key=repr) for query in queries}
    database.close()
    return found


def test_results_do_not_depend_on_which_model_is_scored_first(tmp_path: Path) -> None:
    calm = _scored(tmp_path / "calm.db", FakeScorer())
    assert all(calm.values())
    for seed in range(3):
        assert _scored(tmp_path / f"{seed}.db", Unordered(seed)) == calm


def test_jobs_of_one_model_leave_room_for_other_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = BlockedScorer()
    monkeypatch.setattr(monitoring.scoring.queue, "IN_HAND", 64 << 10)

    def find(model: str, number: str) -> Version:
        return replace(VERSION, model=model)

    monitor = Monitor(tmp_path / "m.db", _three_models().records, scorer=scorer, find=find)
    while monitor.consumer.step(20) or not monitor.consumer.drained:
        pass
    assert {job.model for job in scorer.submitted} == set("abc")
    scorer.released.set()
    monitor.drain()
