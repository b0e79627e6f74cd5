"""Conservation: the consumer loses no row, counts none twice, and is deterministic."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.log import Record
from monitoring.results import Result, Window
from monitoring.score_jobs import ScoreReply
from monitoring.storage.database import Database, DatabaseAddress, as_struct
from monitoring.storage.store import Store
from monitoring.windows.watermark import IDLE
from tests.depth import NIGHTLY, by_depth
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    FakeScorer,
    Log,
    Monitor,
    dying,
    eight_hours,
    everything,
)

pytestmark = pytest.mark.untraced


@pytest.fixture
def path(where: DatabaseAddress) -> DatabaseAddress:
    return where


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    path = tmp_path_factory.mktemp("undisturbed") / "monitor.db"
    Monitor(path, eight_hours().records).drain()
    return everything(path)


def _all_results(path: DatabaseAddress) -> list[Result]:
    """Return the results of every revision."""
    return [as_struct(body, Result) for (body,) in Database(path).all("SELECT body FROM results")]


def test_every_revision_counts_each_row_as_labelled_pending_or_expired(
    path: DatabaseAddress,
) -> None:
    Monitor(path, eight_hours().records).drain()
    results = _all_results(path)
    assert any(result.expired for result in results)
    assert any(result.pending for result in results)
    for result in results:
        assert result.rows == result.labelled + result.pending + result.expired
        assert not (result.pending and result.expired)
        assert result.sampled == min(result.rows, 40)
        assert result.rows == result.events.get("ok", 0)


def test_every_prediction_is_in_a_window_late_or_dead_lettered(path: DatabaseAddress) -> None:
    log, chance = Log(), random.Random(3)
    for n in range(300):
        time = T0 + n * HOUR // 40 - chance.choice([0, 0, 0, 3 * HOUR])
        log.predict(time, f"p{n}", rows=chance.randrange(1, 4))
        if chance.random() < 0.1:
            log.predict(T0, f"stranger{n}", model="other")
        if chance.random() < 0.1:
            log.predict(time, f"bad{n}", outcome="invalid", rows=0, inputs={}, outputs={})
        log.tell(f"p{chance.randrange(n + 1)}", 1)
    monitor = Monitor(path, log.records)
    monitor.drain()
    monitor.consumer.close_all()
    monitor.drain()
    store = Store(path)
    totals, results = store.totals(), store.results("tiny", "1")
    predictions = [r.event for r in log.records if isinstance(r.event, PredictionEvent)]
    labels = [r.event for r in log.records if isinstance(r.event, FeedbackEvent)]
    assert totals["monitored_events"] == len(log.records) == sum(s.events for s in store.ledger())
    assert totals["labels"] == len(labels)
    assert totals["late_rows"] > 0
    assert totals["dead_letters"] == sum(event.model == "other" for event in predictions)
    rows = sum(event.rows for event in predictions if event.model == "tiny")
    assert rows == sum(result.rows for result in results) + totals["late_rows"]
    events = sum((Counter(result.events) for result in results), Counter[str]())
    assert events.total() == sum(e.model == "tiny" for e in predictions) - totals["late_events"]
    kinds = ("late_labels", "duplicate_labels", "conflicting_labels", "unknown_labels")
    in_windows = sum(result.labelled for result in results)
    conflicting = sum(result.conflicting for result in results)
    assert in_windows + sum(totals.get(kind, 0) for kind in kinds) <= len(labels) + conflicting


def test_every_label_is_counted_in_exactly_one_way(path: DatabaseAddress) -> None:
    log = Log()
    log.tell("early", 1)
    for name in ("early", "known", "twice", "torn"):
        log.predict(T0, name)
    log.pass_time(T0 + 3 * HOUR)
    log.predict(T0, "late")
    for name, label in [
        ("known", 1), ("twice", 1), ("twice", 1), ("torn", 1), ("torn", 0), ("late", 1),
        ("nobody", 1), ("known", True),
    ]:  # fmt: skip
        log.tell(name, label)
    Monitor(path, log.records).drain()
    totals = Store(path).totals()
    expected = {
        "duplicate_labels": 2,  # `true` equals class 1
        "conflicting_labels": 1,
        "late_labels": 1,
        "unknown_labels": 1,
    }
    assert {name: totals.get(name, 0) for name in expected} == expected
    (result,) = [r for r in Store(path).results("tiny", "1") if r.window.start == T0]
    assert result.labelled == 4
    assert totals["labels"] == result.labelled + sum(expected.values())


def test_early_label_is_joined_once_its_prediction_arrives(path: DatabaseAddress) -> None:
    log = Log()
    log.tell("p", 1)
    Monitor(path, log.records).drain()
    assert Store(path).totals()["unknown_labels"] == 1
    log.predict(T0, "p")
    Monitor(path, log.records).drain()
    assert Store(path).totals()["unknown_labels"] == 0
    assert Store(path).live("tiny", "1")[0].labelled == 1


def test_dead_letter_stores_the_bytes_of_the_log(path: DatabaseAddress) -> None:
    log = Log()
    log.damage()
    log.predict(T0, "p", version="9")
    Monitor(path, log.records).drain()
    letters = Database(path).all("SELECT origin, body FROM dead_letters ORDER BY number")
    assert letters == [("s-0:1:0", b"bytes"), ("s-0:1:1", b"bytes")]
    (ledger,) = Store(path).ledger()
    assert (ledger.events, ledger.unreadable) == (2, 1)


def test_event_time_up_to_a_day_ahead_is_counted_but_does_not_advance_time(
    path: DatabaseAddress,
) -> None:
    log = Log()
    log.predict(T0, "now", received=T0)
    log.predict(T0 + 24 * HOUR + 1, "wrong clock", received=T0)
    for n in range(20):
        log.predict(T0 + 24 * HOUR, f"planned flight {n}", received=T0)
    Monitor(path, log.records).drain()
    store = Store(path)
    assert store.totals()["dead_letters"] == 1
    assert store.results("tiny", "1") == []
    assert [live.window.start for live in store.live("tiny", "1")] == [T0, T0 + 24 * HOUR]


def _drifting(hours: Sequence[int]) -> Log:
    log = Log()
    for hour in hours:
        for n in range(10):
            log.predict(T0 + hour * HOUR + n, f"p{hour}-{n}")
    log.pass_time(T0 + hours[-1] * HOUR)
    return log


def test_second_alarm_requests_no_retraining_while_the_first_is_open(
    path: DatabaseAddress,
) -> None:
    log = _drifting(range(9))  # the scorer finds drift from the third hour on
    for hour in range(9):
        for n in range(10):
            log.tell(f"p{hour}-{n}", 0)
    monitor = Monitor(path, log.records)
    _degrade_performance(monitor.scorer)
    monitor.drain()
    rules = sorted(alarm.rule for alarm in Store(path).alarms())
    assert rules == ["drift", "performance"]
    (delivery,) = Store(path).deliveries()
    assert (delivery.state, delivery.attempts, delivery.created) == ("pending", 0, 7)
    drift = next(alarm for alarm in Store(path).alarms() if alarm.rule == "drift")
    assert drift.alarm_id.encode() in delivery.body
    assert b'"rows_url":"http://page/api/models/tiny/versions/1/windows/' in delivery.body


def test_undelivered_request_is_superseded_by_a_later_request_of_its_version(
    path: DatabaseAddress,
) -> None:
    monitor = Monitor(path, _drifting(range(16)).records)
    judge = monitor.scorer.submit
    monitor.scorer.submit = lambda job: judge(  # type: ignore[method-assign]
        replace(job, window=_window_with_or_without_drift(job.window))
    )
    monitor.drain()
    alarms = Store(path).alarms()
    assert [alarm.state for alarm in alarms] == ["firing", "resolved"]
    later, earlier = sorted(Store(path).deliveries(), key=lambda one: one.state)
    assert (later.state, earlier.state) == ("pending", "superseded")
    assert alarms[0].alarm_id.encode() in later.body
    Store(path).failed(earlier.webhook_id, "its attempt was under way", 1)
    assert [one.webhook_id for one in Store(path).due(10**18)] == [later.webhook_id]
    Store(path).delivered(earlier.webhook_id)  # the earlier request was received after all
    assert {one.state for one in Store(path).deliveries()} == {"pending", "delivered"}


def _window_with_or_without_drift(window: Window) -> Window:
    """Return a window that makes the fake scorer find drift in hours 3 to 5 and from hour 9 on."""
    hour = (window.start - T0) // HOUR
    reported = 3 if 3 <= hour < 6 or hour >= 9 else 0
    return Window(T0 + reported * HOUR, T0 + (reported + 1) * HOUR)


def _degrade_performance(scorer: FakeScorer) -> None:
    judge = scorer.replies

    def replies() -> list[ScoreReply]:
        return [
            replace(
                reply,
                scores=[
                    replace(s, threshold=0.6, breached=s.value is not None and s.value < 0.6)
                    if s.name == "roc_auc"
                    else s
                    for s in reply.scores
                ],
            )
            for reply in judge()
        ]

    scorer.replies = replies  # type: ignore[method-assign]


def test_window_that_could_not_be_scored_states_the_error_and_its_counts(
    path: DatabaseAddress,
) -> None:
    monitor = Monitor(path, _drifting([0, 2]).records)
    failed = monitor.scorer.replies
    monitor.scorer.replies = lambda: [  # type: ignore[method-assign]
        replace(reply, scores=[], error="could not be scored: no such luck") for reply in failed()
    ]
    monitor.drain()
    (result,) = Store(path).results("tiny", "1")
    assert (result.rows, result.sampled, result.verdict) == (10, 10, "not enough data")
    (drift,) = [score for score in result.scores if score.name == "drifted_share"]
    assert drift.note == "could not be scored: no such luck"
    assert Store(path).totals()["waiting_scores"] == 0


class SlowScorer(FakeScorer):
    """Returns its replies one by one after random delays."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._queued: list[ScoreReply] = []

    def replies(self) -> list[ScoreReply]:
        self._queued += super().replies()
        if not self._queued or self._chance.random() < 0.6:
            return []
        return [self._queued.pop(0)]


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_results_do_not_depend_on_the_duration_of_scoring(
    path: DatabaseAddress, undisturbed: dict[str, Any], seed: int
) -> None:
    monitor = Monitor(path, eight_hours().records, scorer=SlowScorer(random.Random(seed)))
    monitor.drain(limit=13)
    assert everything(path) == undisturbed


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_outstanding_score_jobs_are_submitted_again_after_a_crash(
    path: DatabaseAddress, undisturbed: dict[str, Any], seed: int
) -> None:
    """The monitor dies between steps while score jobs are outstanding."""
    chance = random.Random(seed)
    for _ in range(8):
        monitor = Monitor(path, eight_hours().records, chance, SlowScorer(chance))
        for _ in range(chance.randrange(1, 6)):
            monitor.consumer.step(chance.randrange(5, 40))
        monitor.database.close()
    assert Store(path).totals()["waiting_scores"] > 0
    Monitor(path, eight_hours().records).drain()
    assert everything(path) == undisturbed


@pytest.mark.parametrize("seed", range(by_depth(2, 6)))
def test_monitor_killed_at_any_statement_reports_the_same_results(
    each_database: DatabaseAddress, undisturbed: dict[str, Any], seed: int
) -> None:
    """Each monitor dies without rollback, commit or close."""
    path = each_database
    chance = random.Random(seed)
    deaths = 0
    for _ in range(12):
        monitor = Monitor(path, eight_hours().records, chance)
        deaths += monitor.dies(chance.randrange(1, 250), chance.choice([2, 15, 60]))
    assert deaths > 6
    Monitor(path, eight_hours().records, chance).drain()
    assert everything(path) == undisturbed


def _two_sources() -> tuple[Log, Log]:
    """Return two sources of 20 predictions an hour; the second ends after three of six hours."""
    one, two = Log("one-0"), Log("two-0")
    for n in range(120):
        received = T0 + 10_000 * HOUR + n * IDLE // 20
        one.predict(T0 + n * HOUR // 20, f"one{n}", received=received)
        if n < 60:
            two.predict(T0 + n * HOUR // 20 + 1, f"two{n}", received=received)
    return one, two


def _one_after_the_other(one: Log, two: Log) -> list[Record]:
    """Return all of `one`, then all of `two`, after the first record of each.

    The consumer cannot wait for a source before its first record.
    """
    return [one.records[0], two.records[0], *one.records[1:], *two.records[1:]]


def _the_other_first(one: Log, two: Log) -> list[Record]:
    return _one_after_the_other(two, one)


def _as_received(one: Log, two: Log) -> list[Record]:
    return sorted(_one_after_the_other(one, two), key=lambda record: record.event.received)


@pytest.mark.parametrize("limit", [1, 9, 10, 1000] if NIGHTLY else [9, 10])
@pytest.mark.parametrize("order", [_one_after_the_other, _the_other_first, _as_received])
def test_reading_one_source_ahead_of_another_makes_no_event_late(
    path: DatabaseAddress, order: Callable[[Log, Log], list[Record]], limit: int
) -> None:
    monitor = Monitor(path, order(*_two_sources()))
    monitor.drain(limit)
    store = Store(path)
    assert store.totals().get("late_rows", 0) == 0
    rows = {r.window.start: r.rows for r in store.results("tiny", "1")}
    # The second source is silent and everything is read, so it must not delay the first.
    assert rows == {T0 + hour * HOUR: 40 if hour < 3 else 20 for hour in range(5)}
    assert [live.window for live in store.live("tiny", "1")] == [
        Window(T0 + 5 * HOUR, T0 + 6 * HOUR)
    ]


def test_idle_step_does_not_query_the_database(
    path: DatabaseAddress,
) -> None:
    one, two = _two_sources()
    monitor = Monitor(path, _as_received(one, two))
    monitor.drain(10)
    with dying(monitor.database, 0):
        for _ in range(5):
            assert not monitor.consumer.step(10)  # the first database call would raise
