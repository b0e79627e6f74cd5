"""The consumer on a real database: every event is counted once, in spite of crashes."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Executable

from eventlog import wire
from eventlog.events import PredictionEvent
from monitoring.results import AlarmStep, Silence
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.query import RowQuery
from monitoring.storage.store import Store
from monitoring.windows.watermark import RECENT
from registry.errors import UnknownModel
from registry.manifest import Version
from tests.depth import by_depth
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    VERSION,
    Log,
    Monitor,
    eight_hours,
    everything,
)

pytestmark = pytest.mark.untraced


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def monitored(where: DatabaseAddress, log: Log) -> Callable[[], Store]:
    """Return a function that monitors the log to its end and returns the store."""

    def run() -> Store:
        Monitor(where, log.records).drain()
        return Store(where)

    return run


class WithoutDuplicates(random.Random):
    """A random source with which the fake reader repeats no record."""

    def random(self) -> float:
        return 1.0


def test_window_closes_once_its_grace_has_passed(log: Log, monitored: Callable[[], Store]) -> None:
    for n in range(12):
        log.predict(T0 + n, f"a{n}")
    log.pass_time(T0 + HOUR + 599_000_000)
    log.predict(T0 + HOUR + 600_000_000, "a stray")
    assert monitored().results("tiny", "1") == []
    log.pass_time(T0 + HOUR + 600_000_000)
    (result,) = monitored().results("tiny", "1")
    assert (result.rows, result.sampled, result.pending, result.events) == (12, 12, 12, {"ok": 12})
    (live,) = monitored().live("tiny", "1")
    assert (live.rows, live.events["refused"]) == (1, 2 * RECENT)


def test_event_for_a_closed_window_counts_as_late(log: Log, monitored: Callable[[], Store]) -> None:
    log.predict(T0, "first")
    log.pass_time(T0 + 3 * HOUR)
    log.predict(T0 + 5, "late", rows=3)
    log.tell("late", 1)
    store = monitored()
    assert store.totals()["late_rows"] == 3
    assert store.totals()["late_labels"] == 1
    assert [result.rows for result in store.results("tiny", "1")] == [1]


def test_windows_without_events_have_results(log: Log, monitored: Callable[[], Store]) -> None:
    log.predict(T0, "first")
    log.predict(T0 + 3 * HOUR, "third hour")
    log.pass_time(T0 + 5 * HOUR)
    results = monitored().results("tiny", "1")
    assert [result.rows for result in results] == [1, 0, 0, 1]
    assert [result.verdict for result in results] == ["not enough data"] * 4


def test_labels_join_before_and_after_their_prediction(
    log: Log, monitored: Callable[[], Store]
) -> None:
    log.tell("a", 1, row=1)
    log.predict(T0, "a", rows=2)
    log.tell("a", 0)
    log.tell("a", 0)
    log.tell("a", 1)
    log.tell("nobody", 1)
    log.tell("nobody", 1)
    store = monitored()
    (live,) = store.live("tiny", "1")
    assert (live.rows, live.labelled, live.pending, live.conflicting) == (2, 2, 0, 1)
    totals = store.totals()
    assert (totals["unknown_labels"], totals["duplicate_labels"]) == (1, 2)
    assert totals["conflicting_labels"] == 1
    assert store.rows("tiny", "1", live.window)["label"].tolist() in ([0, 1], [1, 0])


def test_labels_with_a_callers_own_id_join_predictions_of_earlier_releases(
    log: Log, monitored: Callable[[], Store]
) -> None:
    earlier, now = "own-" + "1" * 32, "820ac31a93-own-" + "1" * 32
    log.predict(T0, earlier)
    log.tell(now, 0)
    log.tell(now.replace("1" * 32, "2" * 32), 1)
    log.predict(T0, earlier.replace("1" * 32, "2" * 32))
    log.predict(T0, now.replace("1" * 32, "3" * 32))
    log.tell(earlier.replace("1" * 32, "3" * 32), 1)
    store = monitored()
    (live,) = store.live("tiny", "1")
    assert (live.rows, live.labelled) == (3, 3)


def test_result_is_revised_as_labels_arrive_until_it_expires(
    log: Log, monitored: Callable[[], Store]
) -> None:
    for n in range(10):
        log.predict(T0 + n, f"a{n}")
    log.pass_time(T0 + 2 * HOUR)
    log.tell("a0", 1)
    (first,) = monitored().results("tiny", "1")[:1]
    assert (first.revision, first.labelled) == (0, 0)
    log.tell("a1", 0)
    first = monitored().results("tiny", "1")[0]
    assert (first.revision, first.labelled, first.pending) == (1, 2, 8)
    log.tell("a2", 1)
    log.pass_time(T0 + 4 * HOUR)  # label_wait has passed
    log.tell("a3", 1)
    store = monitored()
    first = store.results("tiny", "1")[0]
    assert (first.revision, first.labelled, first.pending, first.expired) == (2, 3, 0, 7)
    assert store.totals()["late_labels"] == 1
    drift = [score for score in first.scores if score.name == "drift"]
    assert drift, "a revision retains the scores computed at the close"


def test_refused_requests_are_counted_but_not_as_rows(
    log: Log, monitored: Callable[[], Store]
) -> None:
    log.predict(T0, "good")
    log.predict(T0, "bad", outcome="invalid", rows=0, inputs={}, outputs={})
    log.predict(T0, "lost", outcome="invalid", version="", rows=0, inputs={}, outputs={})
    log.pass_time(T0 + 2 * HOUR)
    store = monitored()
    assert store.results("tiny", "1")[0].events == {"invalid": 1, "ok": 1}
    assert store.results("tiny", "1")[0].rows == 1
    assert store.totals()["unresolved_events"] == 1


def test_unusable_events_are_dead_lettered_with_a_reason(
    log: Log, monitored: Callable[[], Store], where: DatabaseAddress
) -> None:
    log.damage()
    log.predict(T0, "stranger", model="other")
    log.predict(T0, "no rows", inputs={})
    log.predict(T0, "torn", outputs={})
    log.predict(T0 + 20_000 * HOUR, "from the future")
    log.predict(-(10**30), "from before all time")
    log.tell("good", 1, row=2**63)
    log.predict(T0, "good")
    store = monitored()
    letters = Database(where).all("SELECT origin, reason FROM dead_letters")
    assert [origin for origin, _ in letters] == [f"s-0:1:{n}" for n in range(7)]
    words = [
        "damaged",
        "'other'",
        "'x'",
        "label",
        "ahead",
        "before 1970",
        "row 9223372036854775808",
    ]
    for (_, reason), word in zip(letters, words, strict=True):
        assert word in str(reason)
    assert store.totals()["dead_letters"] == 7
    assert [live.rows for live in store.live("tiny", "1")] == [1]


def test_lost_and_repeated_records_are_counted(log: Log, monitored: Callable[[], Store]) -> None:
    log.predict(T0, "a")
    log.predict(T0, "b")
    log.lose(7)
    (ledger,) = monitored().ledger()
    assert (ledger.events, ledger.lost, ledger.duplicated) == (2, 7, 0)


def test_large_window_stores_a_sample_and_counts_every_row(
    log: Log, monitored: Callable[[], Store]
) -> None:
    for n in range(100):
        log.predict(T0 + n, f"a{n}")
        log.tell(f"a{n}", n % 2)
    log.pass_time(T0 + 2 * HOUR)
    store = monitored()
    result = store.results("tiny", "1")[0]
    assert (result.rows, result.labelled, result.sampled) == (100, 100, 40)
    rows = store.rows("tiny", "1", result.window)
    assert len(rows) == 40
    assert rows["label"].notna().all()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    path = tmp_path_factory.mktemp("undisturbed") / "monitor.db"
    Monitor(path, eight_hours().records).drain()
    found = everything(path)
    assert len(found["alarms"]) == 1
    assert len(found["outbox"]) == 1
    assert len(found["results"]) > 10
    return found


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_results_do_not_depend_on_poll_sizes_or_duplicates(
    where: DatabaseAddress, undisturbed: dict[str, Any], limit: int
) -> None:
    monitor = Monitor(where, eight_hours().records, random.Random(limit))
    monitor.drain(limit)
    assert everything(where) == undisturbed


def test_results_do_not_depend_on_the_duration_of_a_step(
    where: DatabaseAddress, undisturbed: dict[str, Any]
) -> None:
    ticks = iter(range(1 << 30))
    monitor = Monitor(where, eight_hours().records, clock=lambda: float(next(ticks)))
    steps = 0
    while monitor.consumer.step(1000) or monitor.consumer.scoring or not monitor.consumer.drained:
        steps += 1
    assert steps > len(eight_hours().records) // 4
    assert everything(where) == undisturbed


def test_monitor_pauses_once_the_log_is_read(tmp_path: Path, log: Log) -> None:
    for n in range(5):
        log.predict(T0 + n, f"p{n}")
    monitor = Monitor(tmp_path / "monitor.db", log.records, WithoutDuplicates())
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return seconds > 0

    monitor.consumer.run(wait, 2, idle_pause=0.5)
    assert pauses == [0, 0, 0.5]


def test_early_labels_are_written_once(where: DatabaseAddress, log: Log) -> None:
    for row in range(300):
        log.tell("a", row % 2, row=row)
    monitor = Monitor(where, log.records)
    written: list[Any] = []
    many = monitor.database.many

    def count(statement: Any, rows: Any) -> None:
        written.extend(row for row in rows if row and row[0] == "a")
        many(statement, rows)

    monitor.database.many = count  # type: ignore[method-assign]
    monitor.drain(limit=10)
    assert len(written) == 300


@pytest.mark.parametrize("seed", range(by_depth(2, 6)))
def test_monitor_killed_at_any_write_reports_the_same_results(
    where: DatabaseAddress, undisturbed: dict[str, Any], seed: int
) -> None:
    """Each monitor dies within a transaction, at a random write."""
    chance, records = random.Random(seed), eight_hours().records
    for _ in range(10):
        monitor = Monitor(where, records, chance)
        monitor.database = _dying(monitor.database, after=chance.randrange(1, 400))
        try:
            monitor.drain(limit=chance.choice([3, 20, 80]))
        except KeyboardInterrupt:
            continue
        finally:
            monitor.database.close()
    Monitor(where, records, chance).drain()
    assert everything(where) == undisturbed


def _dying(database: Database, after: int) -> Database:
    """Return the database with an n-th write that raises KeyboardInterrupt."""
    do, write = database.do, database.write
    countdown: Iterator[int] = iter(range(after, -1, -1))

    def count() -> None:
        if next(countdown) == 0:
            raise KeyboardInterrupt

    def counted_do(statement: Executable | str, **values: object) -> int:
        count()
        return do(statement, **values)

    def counted_write(statement: RowQuery, *values: object) -> None:
        count()
        write(statement, *values)

    database.do = counted_do  # type: ignore[method-assign]
    database.write = counted_write  # type: ignore[method-assign]
    return database


def test_deleted_version_does_not_stop_the_monitor(where: DatabaseAddress, log: Log) -> None:
    for n in range(12):
        log.predict(T0 + n, f"a{n}")
    log.pass_time(T0 + 2 * HOUR)
    killed = Monitor(where, log.records)
    killed.consumer.step(1000)  # ends before the window's scores are evaluated
    killed.database.close()
    log.tell("a0", 1)
    log.predict(T0 + 2 * HOUR, "another")

    def deleted(model: str, number: str) -> Version:
        raise UnknownModel(f"no model {model!r}; models: none is registered")

    Monitor(where, log.records, find=deleted).drain()
    store = Store(where)
    assert store.totals()["monitored_events"] == 12 + RECENT + 2
    assert store.totals()["dead_letters"] == 2
    assert store.totals()["waiting_scores"] == 0


def test_silenced_alarm_is_recorded_and_sends_no_webhook(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    store = Store(path)
    silence = Silence(
        silence_id="s", model="tiny", until=1 << 60, created=0, actor="ann", reason="a sale"
    )
    store.silence(silence)
    Monitor(path, eight_hours().records).drain()
    assert list(store.newest_requests()) == store.monitored_versions() == [("tiny", "1")]
    (alarm,) = store.alarms()
    assert [(step.deed, step.actor, step.reason) for step in alarm.steps] == [
        ("silenced", "ann", "a sale")
    ]
    assert store.deliveries() == []


def test_manually_resolved_alarm_fires_again_only_as_a_new_alarm(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    records = eight_hours().records
    Monitor(path, records[: len(records) * 11 // 16]).drain()
    store = Store(path)
    (alarm,) = store.alarms()
    assert store.resolve(alarm.alarm_id, AlarmStep(1, "resolved", "ann", "known"))
    Monitor(path, records).drain()
    newest, resolved = store.alarms()
    assert resolved.state == "resolved"
    assert newest.alarm_id != resolved.alarm_id
    assert newest.since > resolved.latest
    assert len(store.deliveries()) == 2


def test_retried_dead_letter_is_ingested_once_its_model_exists(tmp_path: Path) -> None:
    path, log = tmp_path / "monitor.db", Log()
    for n, model in enumerate(("late", "nobody", "tiny")):
        log.predict(T0 + n, f"p{n}", model=model)
    log.damage()
    records = [
        msgspec.structs.replace(record, value=wire.encode(record.event))
        if isinstance(record.event, PredictionEvent)
        else record
        for record in log.records
    ]
    known = {"tiny"}

    def find(model: str, number: str) -> Version:
        if model not in known:
            raise UnknownModel(model)
        return msgspec.structs.replace(VERSION, model=model)

    Monitor(path, records, find=find).drain()
    store = Store(path)
    letters = {letter.reason: letter.number for letter in store.dead_letters(9)}
    assert len(letters) == 3
    assert not store.retry(99)
    for number in letters.values():
        assert store.retry(number)
        assert store.retry(number)  # idempotent
    known.add("late")
    for first in (True, False):
        monitor = Monitor(path, records, find=find)
        monitor.drain()
        assert monitor.consumer.retry_dead_letters() is first
        assert [live.rows for live in store.live("late", "1")] == [1]
        reasons = {letter.reason for letter in store.dead_letters(9)}
        assert len(reasons) == 2
        assert any("nobody" in reason for reason in reasons)
    ledger = store.ledger()
    assert [(one.events, one.missing) for one in ledger] == [(4, 0)]
