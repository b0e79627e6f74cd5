"""The consumer on a real database: everything counted, nothing twice, whatever happens to it."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, Label, PredictionEvent, Tensor
from eventlog.log import Position, Positions, Record
from monitoring.conclusion import Conclusion
from monitoring.consumer import Consumer
from monitoring.core.results import Score
from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.state.database import Database
from monitoring.state.journal import Journal
from monitoring.state.store import Store
from monitoring.watching import Memory
from registry.errors import UnknownModel
from registry.manifest import (
    AlarmPolicy,
    Feature,
    Manifest,
    Monitoring,
    Prediction,
    Signature,
    TensorSpec,
    Version,
    WindowPolicy,
)

HOUR = 3_600_000_000  # microseconds; windows are hours
T0 = 1_372_636_800_000_000

MANIFEST = Manifest(
    task="classification",
    features=[Feature("x", "numeric", input="x")],
    prediction=Prediction("label", "probabilities", [0, 1], 1),
    target="y",
    held_out=True,
    signature=Signature([TensorSpec("x", "FP32", [-1, 1])], [TensorSpec("label", "INT64", [-1])]),
    monitoring=Monitoring(
        window=WindowPolicy(length=3600, grace=600, label_wait=3 * 3600, max_rows=40),
        alarms=AlarmPolicy(min_rows=10, drifted_share=0.5, consecutive=2, min_score=0.6),
    ),
)
VERSION = Version(
    model="tiny", number="1", digest="d" * 64, created=0, manifest=MANIFEST, path="nowhere"
)


def _find(model: str, number: str) -> Version:
    if (model, number) != ("tiny", "1"):
        raise UnknownModel(f"no model {model!r}; models: tiny")
    return VERSION


class Log:
    """A log of one source in memory."""

    def __init__(self, source: str = "s-0") -> None:
        self.source = source
        self.records: list[Record] = []

    def predict(self, time: int, name: str, *, rows: int = 1, **changes: Any) -> None:
        values = [0.5 + n for n in range(rows)]
        told: dict[str, Any] = {
            "time": time,
            "received": T0 + 10_000 * HOUR,
            "prediction_id": name,
            "model": "tiny",
            "version": "1",
            "protocol": "rest",
            "outcome": "ok",
            "rows": rows,
            "inputs": {"x": Tensor("FP32", [rows, 1], values)},
            "outputs": {
                "label": Tensor("INT64", [rows], [1] * rows),
                "probabilities": Tensor("FP32", [rows, 2], [0.25, 0.75] * rows),
            },
        }
        self._append(PredictionEvent(**self._stamp(), **(told | changes)))

    def tell(self, name: str, label: Label, row: int = 0) -> None:
        stamp = self._stamp()
        told = {"time": T0, "received": T0, "prediction_id": name, "label": label, "row": row}
        self._append(FeedbackEvent(**stamp, **told))

    def damage(self) -> None:
        self._append(UnreadableEvent("damaged on disk"))

    def lose(self, count: int) -> None:
        last = self.records[-1]
        self.records.append(msgspec.structs.replace(last, sequence=last.sequence + count))
        del self.records[-2]

    def _stamp(self) -> dict[str, Any]:
        return {"source": self.source, "epoch": 1, "sequence": self._next()}

    def _next(self) -> int:
        return self.records[-1].sequence + 1 if self.records else 0

    def _append(self, event: Event | UnreadableEvent) -> None:
        self.records.append(Record(self.source, 1, self._next(), event, 10, b"bytes"))


class FakeReader:
    """The port of eventlog/log.py over records in memory, with duplicates on demand."""

    def __init__(
        self, records: Sequence[Record], positions: Positions, chance: random.Random
    ) -> None:
        self._left = [
            record
            for record in records
            if positions.get(record.source, Position(0, 0))
            <= Position(record.epoch, record.sequence)
        ]
        self._given: list[Record] = []
        self._chance = chance

    def poll(self, limit: int) -> Sequence[Record]:
        batch: list[Record] = []
        while self._left and len(batch) < limit:
            if self._given and self._chance.random() < 0.1:
                batch.append(self._chance.choice(self._given))
                continue
            self._given.append(self._left.pop(0))
            batch.append(self._given[-1])
        return batch

    def close(self) -> None:
        pass


class FakeScorer:
    """Scores at once, as a pure function of the job: drift where hours are late in the day."""

    def __init__(self) -> None:
        self.jobs: list[ScoreJob] = []
        self._replies: list[ScoreReply] = []

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        hour = (job.window.start - T0) // HOUR
        labels = [label for label in job.columns["label"] if label is not None]
        scores = [Score(name="roc_auc", value=sum(labels) / len(labels) if labels else None)]
        if job.drift:
            drifted = hour >= 3
            scores += [
                Score(name="drift", column="x", value=hour / 10, threshold=0.3, breached=drifted),
                Score(name="drifted_share", value=float(drifted), threshold=0.5, breached=drifted),
            ]
        self._replies.append(ScoreReply(key=job.key, scores=scores, report=job.report))

    def replies(self) -> list[ScoreReply]:
        replies, self._replies = self._replies, []
        return replies

    @property
    def waiting(self) -> int:
        return len(self._replies)


class Monitor:
    """A consumer on a database file; a new one takes up where the last stood."""

    def __init__(
        self, path: Path, records: Sequence[Record], chance: random.Random | None = None
    ) -> None:
        self.database = Database(path)
        journal = Journal(self.database)
        memory = Memory(journal, _find)
        reader = FakeReader(records, memory.positions, chance or random.Random(0))
        self.scorer = FakeScorer()
        conclusion = Conclusion(journal, memory, page="http://page", clock=lambda: 7)
        self.consumer = Consumer(journal, memory, reader, self.scorer, conclusion)

    def drain(self, limit: int = 1000) -> None:
        while self.consumer.step(limit) or self.consumer.scoring:
            pass


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def watch(tmp_path: Path, log: Log) -> Callable[[], Store]:
    """Monitor the log to its end; the store to look at."""

    def run() -> Store:
        Monitor(tmp_path / "monitor.db", log.records).drain()
        return Store(tmp_path / "monitor.db")

    return run


def test_a_window_closes_once_its_grace_has_passed(log: Log, watch: Callable[[], Store]) -> None:
    for n in range(12):
        log.predict(T0 + n, f"a{n}")
    log.predict(T0 + HOUR + 599_000_000, "not yet")
    assert watch().results("tiny", "1") == []
    log.predict(T0 + HOUR + 600_000_000, "now")
    (result,) = watch().results("tiny", "1")
    assert (result.rows, result.sampled, result.pending, result.events) == (12, 12, 12, {"ok": 12})
    (live,) = watch().live("tiny", "1")
    assert live.rows == 2


def test_what_comes_for_a_closed_window_is_late_and_kept_apart(
    log: Log, watch: Callable[[], Store]
) -> None:
    log.predict(T0, "first")
    log.predict(T0 + 3 * HOUR, "far")
    log.predict(T0 + 5, "late", rows=3)
    log.tell("late", 1)
    store = watch()
    assert store.totals()["late_rows"] == 3
    assert store.totals()["late_labels"] == 1
    assert [result.rows for result in store.results("tiny", "1")] == [1]


def test_windows_without_events_are_visible(log: Log, watch: Callable[[], Store]) -> None:
    log.predict(T0, "first")
    log.predict(T0 + 3 * HOUR, "third hour")
    log.predict(T0 + 5 * HOUR, "fifth hour")
    results = watch().results("tiny", "1")
    assert [result.rows for result in results] == [1, 0, 0, 1]
    assert [result.verdict for result in results] == ["not enough data"] * 4


def test_labels_join_before_and_after_their_prediction(
    log: Log, watch: Callable[[], Store]
) -> None:
    log.tell("a", 1, row=1)
    log.predict(T0, "a", rows=2)
    log.tell("a", 0)
    log.tell("a", 0)
    log.tell("a", 1)
    log.tell("nobody", 1)
    log.tell("nobody", 1)
    store = watch()
    (live,) = store.live("tiny", "1")
    assert (live.rows, live.labelled, live.pending, live.conflicting) == (2, 2, 0, 1)
    totals = store.totals()
    assert (totals["unknown_labels"], totals["duplicate_labels"]) == (1, 2)
    assert totals["conflicting_labels"] == 1
    assert store.rows("tiny", "1", live.window)["label"].tolist() in ([0, 1], [1, 0])


def test_a_result_is_revised_as_labels_come_and_expires(
    log: Log, watch: Callable[[], Store]
) -> None:
    for n in range(10):
        log.predict(T0 + n, f"a{n}")
    log.predict(T0 + 2 * HOUR, "closes the first hour")
    log.tell("a0", 1)
    (first,) = watch().results("tiny", "1")[:1]
    assert (first.revision, first.labelled) == (0, 0)
    log.tell("a1", 0)
    first = watch().results("tiny", "1")[0]
    assert (first.revision, first.labelled, first.pending) == (1, 2, 8)
    log.tell("a2", 1)
    log.predict(T0 + 4 * HOUR, "three hours after its end: no label is awaited any more")
    log.tell("a3", 1)
    store = watch()
    first = store.results("tiny", "1")[0]
    assert (first.revision, first.labelled, first.pending, first.expired) == (2, 3, 0, 7)
    assert store.totals()["late_labels"] == 1
    drift = [score for score in first.scores if score.name == "drift"]
    assert drift, "a revision keeps what was scored when the window closed"


def test_refusals_are_counted_and_are_no_rows(log: Log, watch: Callable[[], Store]) -> None:
    log.predict(T0, "good")
    log.predict(T0, "bad", outcome="invalid", rows=0, inputs={}, outputs={})
    log.predict(T0, "lost", outcome="invalid", version="", rows=0, inputs={}, outputs={})
    log.predict(T0 + 2 * HOUR, "next")
    store = watch()
    assert store.results("tiny", "1")[0].events == {"invalid": 1, "ok": 1}
    assert store.results("tiny", "1")[0].rows == 1
    assert store.totals()["unresolved_events"] == 1


def test_what_cannot_be_used_is_set_aside_with_its_reason_and_the_rest_goes_on(
    log: Log, watch: Callable[[], Store], tmp_path: Path
) -> None:
    log.damage()
    log.predict(T0, "stranger", model="other")
    log.predict(T0, "no rows", inputs={})
    log.predict(T0, "torn", outputs={})
    log.predict(T0 + 20_000 * HOUR, "from the future")
    log.predict(T0, "good")
    store = watch()
    letters = Database(tmp_path / "monitor.db").all("SELECT origin, reason FROM dead_letters")
    assert [origin for origin, _ in letters] == [f"s-0:1:{n}" for n in range(5)]
    for (_, reason), word in zip(
        letters, ["damaged", "'other'", "'x'", "label", "ahead"], strict=True
    ):
        assert word in str(reason)
    assert store.totals()["dead_letters"] == 5
    assert [live.rows for live in store.live("tiny", "1")] == [1]


def test_lost_and_repeated_records_are_counted(log: Log, watch: Callable[[], Store]) -> None:
    log.predict(T0, "a")
    log.predict(T0, "b")
    log.lose(7)
    (ledger,) = watch().ledger()
    assert (ledger.events, ledger.lost, ledger.duplicated) == (2, 7, 0)


def test_a_large_window_keeps_a_sample_and_counts_everything(
    log: Log, watch: Callable[[], Store]
) -> None:
    for n in range(100):
        log.predict(T0 + n, f"a{n}")
        log.tell(f"a{n}", n % 2)
    log.predict(T0 + 2 * HOUR, "next")
    store = watch()
    result = store.results("tiny", "1")[0]
    assert (result.rows, result.labelled, result.sampled) == (100, 100, 40)
    rows = store.rows("tiny", "1", result.window)
    assert len(rows) == 40
    assert rows["label"].notna().all()


def _story() -> Log:
    """Eight hours: drift from the third on, labels after an hour, some twice, some never."""
    log, chance = Log(), random.Random(5)
    waiting: list[tuple[int, str]] = []
    for n in range(400):
        time = T0 + n * HOUR // 50
        log.predict(time + chance.randrange(-HOUR // 10, HOUR // 10), f"p{n}")
        waiting.append((time + HOUR, f"p{n}"))
        while waiting and waiting[0][0] <= time:
            _, name = waiting.pop(0)
            for _ in range(chance.choice([0, 1, 1, 1, 2])):
                log.tell(name, chance.randrange(2))
    return log


TABLES = ("results", "alarms", "outbox", "ledger", "totals", "windows", "dead_letters", "positions")


def _everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    database = Database(path)
    # Which records came twice is the reader's doing; what follows from them must not be.
    return {
        table: sorted(database.all(f"SELECT * FROM {table}"), key=repr)
        for table in TABLES
        if table != "ledger"
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    path = tmp_path_factory.mktemp("undisturbed") / "monitor.db"
    Monitor(path, _story().records).drain()
    found = _everything(path)
    assert len(found["alarms"]) == 1
    assert len(found["outbox"]) == 1
    assert len(found["results"]) > 10
    return found


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_results_do_not_depend_on_poll_sizes_or_duplicates(
    tmp_path: Path, undisturbed: dict[str, Any], limit: int
) -> None:
    monitor = Monitor(tmp_path / "monitor.db", _story().records, random.Random(limit))
    monitor.drain(limit)
    assert _everything(tmp_path / "monitor.db") == undisturbed


@pytest.mark.parametrize("seed", range(6))
def test_results_do_not_depend_on_where_the_monitor_was_killed(
    tmp_path: Path, undisturbed: dict[str, Any], seed: int
) -> None:
    """Each life ends in the middle of a transaction, at a statement drawn at random."""
    chance, records = random.Random(seed), _story().records
    path = tmp_path / "monitor.db"
    for _ in range(10):
        monitor = Monitor(path, records, chance)
        monitor.database = _dying(monitor.database, after=chance.randrange(1, 400))
        try:
            monitor.drain(limit=chance.choice([3, 20, 80]))
        except KeyboardInterrupt:
            continue
        finally:
            monitor.database.close()
    Monitor(path, records, chance).drain()
    assert _everything(path) == undisturbed


def _dying(database: Database, after: int) -> Database:
    """The database whose n-th write raises what nobody catches."""
    write = database.do
    countdown: Iterator[int] = iter(range(after, -1, -1))

    def do(statement: str, *values: object) -> int:
        if next(countdown) == 0:
            raise KeyboardInterrupt
        return write(statement, *values)

    database.do = do  # type: ignore[method-assign]
    return database
