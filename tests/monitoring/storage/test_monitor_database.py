"""The monitor's database: atomic steps, and concurrent readers."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.errors import DatabaseUnavailable
from monitoring.results import (
    Alarm,
    AlarmStep,
    DisabledReceiver,
    Note,
    Result,
    Score,
    Silence,
    Window,
)
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from monitoring.storage.rows import EarlyLabel, StoredRow, encode
from monitoring.storage.store import Store
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState

pytestmark = pytest.mark.untraced

KEY = ("tiny", "1")
WINDOW = Window(0, 10)


@pytest.fixture
def journal(where: DatabaseAddress) -> Iterator[Journal]:
    database = Database(where)
    yield Journal(database)
    database.close()


@pytest.fixture
def store(where: DatabaseAddress, journal: Journal) -> Iterator[Store]:
    """Return a store on its own connection, next to the writer."""
    opened = Store(where)
    yield opened
    opened.close()


def _row(number: int, *, name: str = "", body: bytes | None = b"[1]") -> StoredRow:
    return StoredRow(name or f"p{number}", 0, *KEY, WINDOW.start, number, body, None, 7 - number)


def _result(start: int, revision: int) -> Result:
    return Result(
        model="tiny",
        version="1",
        window=Window(start, start + 10),
        revision=revision,
        rows=revision,
    )


def _alarm(name: str, state: str = "firing", window: Window = WINDOW) -> Alarm:
    return Alarm(
        alarm_id=name,
        model="tiny",
        version="1",
        rule="drift",
        state=state,  # type: ignore[arg-type]
        since=window,
        latest=window,
        sentence="",
    )


def test_failed_step_stores_nothing(journal: Journal, store: Store) -> None:
    with suppress(KeyboardInterrupt), journal.database.transaction():
        journal.add_result(_result(0, 0))
        journal.count("labels")
        journal.add_delivery("rr_1", b"{}", 1)
        raise KeyboardInterrupt
    assert store.results(*KEY) == []
    assert "labels" not in store.totals()
    assert store.deliveries() == []


def test_readers_see_a_step_only_after_its_commit(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        journal.add_result(_result(0, 0))
        assert store.results(*KEY) == []
    assert len(store.results(*KEY)) == 1


def test_database_opened_by_many_threads_is_created_once(where: DatabaseAddress) -> None:
    failures: list[Exception] = []

    def opens() -> None:
        try:
            Store(where).totals()
        except (sqlite3.Error, DatabaseUnavailable) as error:
            failures.append(error)

    threads = [threading.Thread(target=opens) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_newest_revision_is_shown_and_older_revisions_are_retained(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        for start, revision in [(10, 0), (0, 0), (0, 2), (0, 1)]:
            journal.add_result(_result(start, revision))
    assert [(r.window.start, r.revision) for r in store.results(*KEY)] == [(0, 2), (10, 0)]
    result = store.result(*KEY, 0)
    assert result is not None
    assert (result.revision, result.rows) == (2, 2)
    assert store.result(*KEY, 99) is None
    assert journal.database.all("SELECT count(*) FROM results") == [(4,)]


def test_results_are_read_in_pages_with_their_neighbours(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        for start in (0, 10, 30, 40):
            journal.add_result(_result(start, 0))
        journal.add_result(_result(10, 1))
    reported = store.results("tiny", "1", last=2, before=40)
    assert [(result.window.start, result.revision) for result in reported] == [(10, 1), (30, 0)]
    assert [result.window.start for result in store.results("tiny", "1", last=1)] == [40]
    assert store.results("tiny", "2") == []
    assert store.neighbours("tiny", "1", 10) == (0, 30)
    assert store.neighbours("tiny", "1", 0) == (None, 10)
    assert store.neighbours("tiny", "1", 40) == (30, None)
    assert store.neighbours("tiny", "2", 10) == (None, None)


def test_closed_totals_count_each_window_by_its_newest_revision(
    journal: Journal, store: Store
) -> None:
    assert store.closed("tiny", "1").rows == 0
    with journal.database.transaction():
        for start, revision in ((0, 1), (10, 4), (10, 7), (0, 1)):
            journal.add_result(_result(start, revision))
    assert (store.closed("tiny", "1").rows, store.closed("tiny", "1").windows) == (8, {"ok": 2})


def test_recent_results_include_the_last_window_with_labels(journal: Journal, store: Store) -> None:
    """Labels can arrive weeks after an hourly window."""
    known = [Score(name="roc_auc", value=0.7)]
    with journal.database.transaction():
        for start in range(0, 100, 10):
            journal.add_result(_result(start, 0))
        for start in (20, 10):
            reported = msgspec.structs.replace(
                _result(start, 1), labelled=1, scores=known, pending=1
            )
            journal.add_result(reported)
    recent = store.recent("tiny", "1", last=3)
    assert [result.window.start for result in recent] == [20, 70, 80, 90]
    assert [result.window.start for result in store.recent("tiny", "1", last=9)] == [
        *range(10, 100, 10)
    ]
    assert store.recent("tiny", "2", last=3) == []


def test_closed_totals_are_computed_from_the_results_of_an_earlier_release(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        for start in (0, 10, 20):
            journal.add_result(_result(start, 2))
        journal.database.do("DELETE FROM closed")
    assert store.closed("tiny", "1").rows == 6
    with journal.database.transaction():
        journal.add_result(_result(20, 5))
    assert store.closed("tiny", "1").rows == 9


def test_row_evicted_from_the_sample_can_still_be_labelled(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        journal.save_version_progress([(*KEY, encode(VersionProgress(*KEY, columns=["x"])))])
        for number in (1, 2, 3):
            journal.predictions.add_row(_row(number))
        journal.predictions.evict(KEY, WINDOW.start, 2)
        kept = journal.predictions.sampled_rows(KEY, WINDOW)
        assert [(row.body, row.label) for row in kept] == [(b"[1]", None)] * 2
        assert [row.place for row in kept] == [(6, "p1", 0), (4, "p3", 0)]
        assert journal.predictions.sampled_hashes(KEY, WINDOW) == [1, 3]
        assert journal.predictions.find("p2", 0) is not None
        journal.predictions.add_label("p2", 0, 1)
        journal.predictions.add_label("p3", 0, "yes")
        journal.predictions.reset()
        assert journal.predictions.delete_rows(KEY, WINDOW.end, limit=9) == 1
        assert journal.predictions.find("p2", 0) is None
    frame = store.rows(*KEY, WINDOW)
    assert frame["x"].tolist() == [1, 1]
    assert frame["label"].isna().tolist() == [True, False]
    assert frame["label"][1] == "yes"


def test_buffered_row_is_found_before_it_is_written(journal: Journal) -> None:
    with journal.database.transaction():
        journal.predictions.add_row(_row(1))
        known = journal.predictions.find("p1", 0)
        assert known is not None
        assert (known.start, known.label) == (WINDOW.start, None)
        assert journal.predictions.find("p1", 1) is None


def test_row_written_within_a_step_can_be_found_and_labelled(journal: Journal) -> None:
    with journal.database.transaction():
        predictions = journal.predictions
        assert predictions.find("p1", 0) is None
        predictions.add_row(StoredRow("p1", 0, "m", "1", 0, 7, b"[1]", None, 5, b"1"))
        before = predictions.find("p1", 0)
        predictions.flush()
        assert predictions.find("p1", 0) == before
        predictions.add_label("p1", 0, 1)
        predictions.reset()
        found = predictions.find("p1", 0)
    assert found is not None
    assert found.label == 1


def test_first_of_two_early_labels_counts(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        first, second, other = (
            EarlyLabel(b"1", 5, 5),
            EarlyLabel(b"0", 6, 6),
            EarlyLabel(b'"b"', 7, 7),
        )
        assert journal.predictions.add_early_label("p", 0, first)
        assert not journal.predictions.add_early_label("p", 0, second)
        assert journal.predictions.add_early_label("p", 1, other)
        journal.predictions.reset()
    assert store.totals()["unknown_labels"] == 2
    with journal.database.transaction():
        assert journal.predictions.pop_early_labels("p") == {0: first, 1: other}
        assert journal.predictions.pop_early_labels("p") == {}
        journal.predictions.reset()
    assert store.totals()["unknown_labels"] == 0


def test_early_label_expires_and_a_later_early_label_replaces_it(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        for received in (1, 2, 3):
            journal.predictions.add_early_label(f"p{received}", 0, EarlyLabel(b"1", 5, received))
        assert journal.predictions.expire_early_labels(3) == 2
        assert journal.predictions.pop_early_labels("p1") == {}
        assert journal.predictions.add_early_label("p2", 0, EarlyLabel(b"0", 6, 4))
        journal.predictions.reset()
    assert store.totals()["unknown_labels"] == 2
    with journal.database.transaction():
        assert journal.predictions.delete_early_labels(9) == 0, (
            "the new label has replaced the expired one"
        )
        assert journal.predictions.pop_early_labels("p2") == {0: EarlyLabel(b"0", 6, 4)}


def test_only_open_windows_are_live(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        journal.save_windows([(KEY, WindowState(10, 20, rows=4, labelled=1))])
        journal.save_windows([(KEY, WindowState(0, 10, rows=9, phase="closed"))])
        journal.save_windows([(KEY, WindowState(20, 30, rows=1, phase="expired"))])
    (live,) = store.live(*KEY)
    assert (live.window.start, live.rows, live.pending, live.scores) == (10, 4, 3, [])
    assert sorted(journal.windows(KEY)) == [0, 10]


def test_alarms_are_listed_newest_first_and_keep_their_place_when_changed(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        for place, name in enumerate(("a", "b", "c")):
            journal.save_alarm(_alarm(name, window=Window(place * 10, place * 10 + 10)))
        journal.save_alarm(_alarm("a", "resolved", Window(0, 10)))
    assert [(alarm.alarm_id, alarm.state) for alarm in store.alarms()] == [
        ("c", "firing"),
        ("b", "firing"),
        ("a", "resolved"),
    ]


def test_acknowledging_and_resolving_an_alarm_records_every_step(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        journal.save_alarm(_alarm("a"))
        journal.save_alarm(_alarm("b", "resolved"))
        journal.save_rule_state(KEY, "drift", RuleState(broken=3, open_alarm="a"))
    acknowledged = AlarmStep(1, "acknowledged", "ann", "looking")
    resolved = AlarmStep(2, "resolved", "bob", "a known sale")
    assert store.acknowledge("a", acknowledged)
    assert not any(store.acknowledge(name, acknowledged) for name in ("a", "b", "nobody"))
    assert store.resolve("a", resolved)
    assert not any(store.resolve(name, resolved) for name in ("a", "b", "nobody"))
    alarms = {alarm.alarm_id: alarm for alarm in store.alarms()}
    assert (alarms["a"].state, alarms["a"].steps) == ("resolved", [acknowledged, resolved])
    assert alarms["b"].steps == []
    assert journal.rule_states(KEY)["drift"].current == "inactive"


def test_notes_are_listed_by_version_and_by_alarm_in_order(store: Store) -> None:
    def note(name: str, created: int, **about: Any) -> Note:
        return Note(
            note_id=name, model="m", version="1", text="x\u202e", actor="ann", created=created,
            **about,
        )  # fmt: skip

    window, second = note("b", 2, start=7), note("c", 3, alarm_id="al")
    first = note("a", 1, alarm_id="al")
    for entry in (second, window, first):
        store.add_note(entry)
    assert store.notes("m", "1") == store.all_notes() == [first, window, second]
    assert store.notes("m", "2") == []
    assert store.notes_on_alarms(["al", "other"]) == {"al": [first, second]}
    assert store.delete_note("a")
    assert not store.delete_note("a")
    assert store.notes_on_alarms(["al"]) == {"al": [second]}


def test_silence_can_be_ended_once(journal: Journal, store: Store) -> None:
    silence = Silence(silence_id="s", until=100, created=1, actor="ann", reason="a sale")
    store.silence(silence)
    assert store.silences() == journal.silences() == [silence]
    assert store.unsilence("s", now=50)
    assert not store.unsilence("s", now=50)
    assert not store.unsilence("nobody", now=50)
    assert [one.until for one in store.silences()] == [50]


def test_webhook_is_added_to_the_outbox_once(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        journal.add_delivery("rr_1", b"first", 1)
        journal.add_delivery("rr_1", b"second", 2)
        journal.add_delivery("rr_2", b"other", 2)
    store.delivered("rr_1")
    with journal.database.transaction():
        journal.add_delivery("rr_1", b"after it was delivered", 3)
    assert [(d.webhook_id, d.body, d.state) for d in store.deliveries()] == [
        ("rr_2", b"other", "pending"),
        ("rr_1", b"first", "delivered"),
    ]


def test_failed_webhook_is_due_at_its_next_attempt_and_a_dead_webhook_never(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        journal.add_delivery("late", b"{}", 2)
        journal.add_delivery("early", b"{}", 1)
    assert [delivery.webhook_id for delivery in store.due(0)] == ["early", "late"]
    store.failed("early", "status 500", 100)
    store.failed("late", "status 410", None)
    assert store.due(99) == []
    (again,) = store.due(100)
    assert (again.webhook_id, again.attempts, again.last_error) == ("early", 1, "status 500")
    dead = {d.webhook_id: (d.state, d.last_error) for d in store.deliveries()}["late"]
    assert dead == ("dead", "status 410")
    assert store.due(1 << 60) == [again]


def test_totals_sum_counts(journal: Journal, store: Store) -> None:
    with journal.database.transaction():
        journal.count("labels", 3)
        journal.count("labels")
        journal.add_dead_letter("s:1:0", "no such model", b"x")
    totals = store.totals()
    assert (totals["labels"], totals["dead_letters"], totals["waiting_scores"]) == (4, 1, 0)


def test_disabled_receiver_stays_disabled_until_enabled(
    where: DatabaseAddress, store: Store
) -> None:
    first = DisabledReceiver(receiver="x", host="train.example", since=5, reason="410")
    store.disable(first)
    store.disable(msgspec.structs.replace(first, since=9))  # the first reason is retained
    assert Store(where).disabled() == [first]
    assert store.enable() == [first]
    assert (store.enable(), Store(where).disabled()) == ([], [])


def test_superseded_webhook_is_not_sent_and_a_delivered_one_stays_delivered(
    journal: Journal, store: Store
) -> None:
    with journal.database.transaction():
        for name in ("early", "late", "done"):
            journal.add_delivery(name, name.encode(), 0)
    store.delivered("done")
    with journal.database.transaction():
        assert journal.pending_deliveries() == {"early": b"early", "late": b"late"}
        journal.supersede("early")
        journal.supersede("done")
    store.failed("early", "its attempt was under way", 1)
    states = {one.webhook_id: one.state for one in store.deliveries()}
    assert states == {"early": "superseded", "late": "pending", "done": "delivered"}
    assert [one.webhook_id for one in store.due(10)] == ["late"]
