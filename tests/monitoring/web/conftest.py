"""A fake store in memory, and the status page on top of it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import pandas as pd
import pytest

from eventlog.log import Position
from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.alarms.traffic import JudgedHour
from monitoring.counters.batch_days import BatchDay
from monitoring.results import (
    Alarm,
    AlarmStep,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Note,
    PartitionHolder,
    Result,
    RetrainRequest,
    Rule,
    Score,
    Silence,
    SourceLedger,
    Window,
)
from monitoring.samples import Sample
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.rows import encode
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.webhooks.body import envelope
from monitoring.windows.totals import ClosedTotals, add_up
from monitoring.windows.traffic import JudgedHours
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState

WEEK = 7 * 86_400_000_000
FIRST = 1_357_516_800_000_000  # Monday 7 January 2013
FEATURES = [
    "dep_hour", "month_day", "weekday", "carrier", "origin", "dest", "distance", "temp", "dewp",
    "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib", "plane_year",
    "plane_seats", "plane_engines", "plane_manufacturer_and_model",
]  # fmt: skip


@dataclass
class FakeStore:
    """What `monitoring.storage.store.Store` gives to the page, held in lists."""

    all_results: list[Result] = field(default_factory=list)
    open_windows: list[Result] = field(default_factory=list)
    all_alarms: list[Alarm] = field(default_factory=list)
    too_late: dict[tuple[str, str], dict[int, LateCounts]] = field(default_factory=dict)
    sources: list[SourceLedger] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    outbox: list[Delivery] = field(default_factory=list)
    states: dict[Rule, RuleState] = field(default_factory=dict)
    files: dict[int, BatchDay] = field(default_factory=dict)
    scheduled: dict[str, ScheduleProgress] = field(default_factory=dict)
    hours: dict[str, JudgedHours] = field(default_factory=dict)
    stops: list[DisabledReceiver] = field(default_factory=list)
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    frames: dict[int, pd.DataFrame] = field(default_factory=dict)  # by the start of their window
    named_rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampled: list[Sample] = field(default_factory=list)
    held: dict[str, Silence] = field(default_factory=dict)
    written: list[Note] = field(default_factory=list)

    def monitored_versions(self) -> list[tuple[str, str]]:
        return sorted({(r.model, r.version) for r in [*self.all_results, *self.open_windows]})

    def results(
        self, model: str, version: str, *, last: int = 1 << 62, before: int = 1 << 62
    ) -> list[Result]:
        found = [r for r in self.all_results if (r.model, r.version) == (model, version)]
        return [r for r in found if r.window.start < before][-last:] if last else []

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        results = self.results(model, version)
        known = set(self.closed(model, version).newest.values())
        return [result for result in results[:-last] if result.window.start in known] + results[
            -last:
        ]

    def closed(self, model: str, version: str) -> ClosedTotals:
        return add_up(self.results(model, version))

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        starts = [result.window.start for result in self.results(model, version)]
        before = max((one for one in starts if one < start), default=None)
        return before, min((one for one in starts if one > start), default=None)

    def result(self, model: str, version: str, start: int) -> Result | None:
        found = (r for r in self.results(model, version) if r.window.start == start)
        return next(found, None)

    def live(self, model: str, version: str) -> list[Result]:
        return [r for r in self.open_windows if (r.model, r.version) == (model, version)]

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        return self.states

    def newest_requests(self) -> dict[tuple[str, str], int]:
        ends = [(one.window.end, (one.model, one.version)) for one in self.all_results]
        return {pair: end for end, pair in sorted(ends)}

    def traffic(self, model: str) -> JudgedHours:
        return self.hours.get(model, JudgedHours())

    def newest_traffic(self) -> dict[str, JudgedHour]:
        return {model: one.newest for model, one in self.hours.items() if one.newest}

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        panes = self.too_late.get((model, version), {})
        found = [late for start, late in panes.items() if window is None or start == window.start]
        return LateCounts(sum(one.events for one in found), sum(one.rows for one in found))

    def batch_days(self, _model: str, _version: str, last: int) -> dict[int, BatchDay]:
        return dict(list(self.files.items())[:last])

    def newest_batch_days(self, start: int) -> dict[tuple[str, str], BatchDay]:
        days = [day for begin, day in sorted(self.files.items()) if begin >= start]
        return {("flights", "1"): days[-1]} if days else {}

    def alarms(self) -> list[Alarm]:
        return self.all_alarms

    def partitions(self) -> list[PartitionHolder]:
        return []

    def ledger(self) -> list[SourceLedger]:
        return self.sources

    def totals(self) -> dict[str, int]:
        return self.counters

    def samples(self, _model: str, _version: str, _window: Window) -> list[Sample]:
        return self.sampled

    def rows(
        self, _model: str, _version: str, window: Window, *, weighted: bool = False
    ) -> pd.DataFrame:
        assert weighted in {True, False}
        return self.frames.get(window.start, self.frame)

    def examples(self, _model: str, _version: str, _window: Window) -> pd.DataFrame:
        return self.named_rows

    def silences(self) -> list[Silence]:
        return list(self.held.values())

    def silence(self, silence: Silence) -> None:
        self.held[silence.silence_id] = silence

    def unsilence(self, silence_id: str, now: int) -> bool:
        before = self.held.get(silence_id)
        if before is None or before.until <= now:
            return False
        self.held[silence_id] = msgspec.structs.replace(before, until=now)
        return True

    def notes(self, model: str, version: str) -> list[Note]:
        return [note for note in self.written if (note.model, note.version) == (model, version)]

    def notes_on_alarms(self, alarm_ids: Iterable[str]) -> dict[str, list[Note]]:
        return {
            alarm_id: notes
            for alarm_id in alarm_ids
            if (notes := [note for note in self.written if note.alarm_id == alarm_id])
        }

    def add_note(self, note: Note) -> None:
        self.written.append(note)

    def delete_note(self, note_id: str) -> bool:
        remaining = [note for note in self.written if note.note_id != note_id]
        deleted = len(remaining) < len(self.written)
        self.written[:] = remaining
        return deleted

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        return self._take(alarm_id, step, {"firing"})

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        return self._take(alarm_id, step, {"firing", "acknowledged"})

    def _take(self, alarm_id: str, step: AlarmStep, states: set[str]) -> bool:
        for place, alarm in enumerate(self.all_alarms):
            if alarm.alarm_id == alarm_id and alarm.state in states:
                steps = [*alarm.steps, step]
                self.all_alarms[place] = msgspec.structs.replace(
                    alarm, state=step.deed, steps=steps
                )
                return True
        return False

    def deliveries(self) -> list[Delivery]:
        return self.outbox

    def schedules(self) -> dict[str, ScheduleProgress]:
        return self.scheduled

    def disabled(self) -> list[DisabledReceiver]:
        return self.stops


def week(index: int) -> Window:
    return Window(FIRST + index * WEEK, FIRST + (index + 1) * WEEK)


def a_result(index: int, model: str = "flights", version: str = "1") -> Result:
    """One plausible week: calm in winter, drifting with the summer."""
    heat = max(math.sin((index - 14) / 26 * math.pi), 0.0) if index > 13 else 0.0
    scores = []
    for place, name in enumerate(FEATURES):
        wave = 0.03 + 0.02 * abs(math.sin(index * 1.7 + place * 2.3))
        value = wave + heat * max(0.0, 0.45 - place * 0.031)
        scores += [
            Score(
                name="drift",
                column=name,
                value=value,
                method="Wasserstein distance (normed)" if place % 3 else "Jensen-Shannon distance",
                threshold=0.1,
                breached=value >= 0.1,
            ),
            Score(name="missing_share", column=name, value=0.02 if place == 12 else 0.0),
            Score(name="out_of_range_share", column=name, value=heat * 0.04 if place == 7 else 0.0),
        ]
    share = sum(s.breached for s in scores) / len(FEATURES)
    labelled = 6100 - 40 * index if index < 37 else (900 if index < 39 else 0)
    auc = 0.72 - 0.07 * heat + 0.01 * math.sin(index * 2.1)
    scores.append(Score(name="drifted_share", value=share, threshold=0.3, breached=share >= 0.3))
    if labelled:
        scores += [
            Score(name="roc_auc", value=auc, threshold=0.66, breached=auc < 0.66),
            Score(name="accuracy", value=0.78 - 0.05 * heat),
            Score(name="log_loss", value=0.49 + 0.08 * heat),
        ]
    rows = 6412 + int(400 * math.sin(index))
    return Result(
        model=model,
        version=version,
        window=week(index),
        revision=2 if index < 37 else 0,
        events={"ok": rows, "invalid": 3},
        rows=rows,
        sampled=min(rows, 5000),
        labelled=min(labelled, rows),
        pending=rows - min(labelled, rows) if index >= 37 else 0,
        expired=0 if index >= 37 else rows - min(labelled, rows),
        conflicting=2,
        verdict="drifted" if share >= 0.3 else "degraded" if labelled and auc < 0.66 else "ok",
        scores=scores,
        report=f"flights-1-{week(index).start}.html",
    )


def a_calm_result(index: int, model: str, version: str = "1") -> Result:
    scores = [Score(name="drift", column=c, value=0.04, method="psi", threshold=0.1) for c in "abc"]
    scores.append(Score(name="drifted_share", value=0.0, threshold=0.3))
    return Result(
        model=model, version=version, window=week(index), rows=120, sampled=120, pending=120,
        verdict="ok" if index % 2 else "not enough data", scores=scores,
    )  # fmt: skip


def an_alarm(state: str = "firing", rule: str = "drift", first: int = 24, last: int = 33) -> Alarm:
    sentences = {
        "drift": "9 of 20 columns have drifted since 24 Jun 2013 (alarm from 30%): "
        "dep_hour 0.47, month_day 0.44 and weekday 0.41 moved most against the reference.",
        "performance": "ROC AUC fell to 0.651 on 5,140 labelled rows (alarm at 0.660) "
        "since 22 Jul 2013.",
    }
    return msgspec.convert(
        {
            "alarm_id": f"{rule}-{first}",
            "model": "flights",
            "version": "1",
            "rule": rule,
            "state": state,
            "since": {"start": week(first).start, "end": week(first).end},
            "latest": {"start": week(last).start, "end": week(last).end},
            "sentence": sentences[rule],
            "columns": FEATURES[:3],
        },
        Alarm,
    )


def a_delivery(webhook_id: str, **fields: object) -> Delivery:
    request = RetrainRequest(
        model="flights",
        version="1",
        digest="d" * 64,
        alarm_id="drift-24",
        rule="drift",
        reason="9 of 20 columns have drifted",
        columns=[],
        window=week(26),
        positions={"worker-0": Position(1, 120_000)},
        rows_url="http://127.0.0.1:3100/rows.parquet",
        register_hint="driftline register model.onnx --name flights",
    )
    created = week(27).start
    return Delivery(
        webhook_id=webhook_id,
        body=envelope(webhook_id, created, request),
        created=created,
        **fields,  # type: ignore[arg-type]
    )


def a_busy_store() -> FakeStore:
    """Forty weeks of one model with two alarms, two calm models and one that has just begun."""
    return FakeStore(
        all_results=[
            *(a_result(index) for index in range(40)),
            *(a_calm_result(index, "churn") for index in range(30, 40)),
            *(a_calm_result(index, "fraud", "12") for index in range(31, 39)),
        ],
        open_windows=[
            Result(model="flights", version="1", window=week(40), rows=1312, pending=1312),
            Result(model="newcomer", version="1", window=week(40), rows=17, pending=17),
        ],
        all_alarms=[
            an_alarm("firing", "performance", 28, 39),
            an_alarm("firing", "drift", 24, 39),
            an_alarm("resolved", "drift", 17, 19),
        ],
        sources=[
            SourceLedger(
                source="worker-0", epoch=3, next_sequence=4000, events=140_233, duplicated=12
            ),
            SourceLedger(source="worker-1", epoch=2, next_sequence=8000, events=121_871),
        ],
        counters={"monitored_events": 262_104, "late_rows": 41, "unknown_labels": 3},
        outbox=[
            a_delivery(
                "msg-2",
                attempts=3,
                last_error="503: come back later",
                next_attempt=week(39).end + 45_000_000,
            ),
            a_delivery("msg-1", state="delivered", attempts=1),
            a_delivery("msg-0", state="dead", attempts=13, last_error="410: wants no more"),
        ],
        frame=pd.DataFrame({"dep_hour": [5, 6, 7], "prediction": [1, 0, 0], "label": [1, None, 0]}),
    )


def written_to(path: Path, fake: FakeStore) -> Path:
    """The same findings in the monitor's real database."""
    database = Database(path)
    journal = Journal(database)
    with database.transaction():
        for model, version in fake.monitored_versions():
            progress = VersionProgress(model, version, columns=["dep_hour", "prediction"])
            journal.save_version_progress([(model, version, encode(progress))])
        for result in fake.all_results:
            journal.add_result(result)
        for live in fake.open_windows:
            state = WindowState(live.window.start, live.window.end, rows=live.rows)
            journal.save_windows([((live.model, live.version), state)])
        for alarm in reversed(fake.all_alarms):
            journal.save_alarm(alarm)
        journal.save_progress({}, [((one.source, ""), one) for one in fake.sources])
        for name, count in fake.counters.items():
            journal.count(name, count)
        for one in fake.outbox:
            journal.add_delivery(one.webhook_id, one.body, one.created)
    database.close()
    outbox = Store(path)
    for one in fake.outbox:
        if one.state == "delivered":
            outbox.delivered(one.webhook_id)
        else:
            outbox.failed(one.webhook_id, one.last_error, one.next_attempt or None)
    outbox.close()
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose monitor was busy, in a real database."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    written_to(tmp_path / "monitor.db", a_busy_store())
    return tmp_path


@pytest.fixture
def store() -> FakeStore:
    return a_busy_store()


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """The folder with the one report that has not been deleted."""
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / f"flights-1-{week(7).start}.html").write_text("<p>Evidently</p>")
    return folder


@pytest.fixture
def client(store: FakeStore, reports: Path) -> Iterator[httpx.Client]:
    """A browser in front of the real server."""
    with (
        serving(app(lambda: store, reports), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as opened,
    ):
        yield opened
