"""Fakes for consumer tests: a log in memory, its reader, a scorer, and eight hours of events."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from eventlog.errors import UnreadableEvent
from eventlog.events import (
    Event,
    FeedbackEvent,
    HeartbeatEvent,
    Label,
    PredictionEvent,
    ReviewAction,
    Tensor,
)
from eventlog.log import Gap, Position, Positions, Reader, Record
from monitoring.baselines.files import BaselineFiles
from monitoring.consumer import MOST_WAITING, Consumer
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState, FindVersion
from monitoring.results import Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import Database, DatabaseAddress, Driver
from monitoring.storage.journal import Journal
from monitoring.windows.policy_source import RegistryPolicies
from monitoring.windows.retention import Retention
from monitoring.windows.watermark import RECENT
from registry.baselines import BaselineRecord, RecordedBaseline
from registry.errors import UnknownModel
from registry.manifest import (
    AlarmPolicy,
    Feature,
    Manifest,
    Monitoring,
    Prediction,
    ReviewPolicy,
    Signature,
    TensorSpec,
    Version,
    WindowPolicy,
)
from registry.policies import DatedPolicy

HOUR = 3_600_000_000  # microseconds; windows are hours
T0 = 1_372_636_800_000_000
RECEIVED = T0 + 10_000 * HOUR

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
        review=ReviewPolicy(per_day=240, every=3600),
    ),
)
_FOLDER = TemporaryDirectory()
pq.write_table(
    pa.table({"x": [0.0, None, 40.0], "y": [0, 0, 1]}), Path(_FOLDER.name) / "reference.parquet"
)
VERSION = Version(
    model="tiny", number="1", digest="d" * 64, created=0, manifest=MANIFEST, path=_FOLDER.name
)


def find_row(model: str, number: str) -> Version:
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
        fields: dict[str, Any] = {
            "time": time,
            "received": RECEIVED,
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
        self._append(PredictionEvent(**self._stamp(), **(fields | changes)))

    def pass_time(self, time: int, **changes: Any) -> None:
        """Advance the watermark to `time` by refused requests, which have no rows."""
        for n in range(RECENT):
            name = f"refused-{time}-{n}"
            self.predict(time, name, rows=0, outcome="refused", inputs={}, outputs={}, **changes)

    def tell(
        self,
        name: str,
        label: Label,
        row: int = 0,
        received: int = RECEIVED,
        *,
        verified: bool = True,
    ) -> None:
        stamp = self._stamp()
        fields = {
            "time": T0,
            "received": received,
            "prediction_id": name,
            "label": label,
            "row": row,
            "verified": verified,
        }
        self._append(FeedbackEvent(**stamp, **fields))

    def review(self, name: str, action: ReviewAction, label: Label, row: int = 0) -> None:
        """Append a reviewer's decision on a row of the review queue."""
        self._append(
            FeedbackEvent(
                **self._stamp(),
                time=T0,
                received=RECEIVED,
                prediction_id=name,
                label=label,
                row=row,
                verified=True,
                actor="key:ann",
                review=action,
                why="looked at it",
            )
        )

    def beat(self, received: int, **changes: Any) -> None:
        """Append a heartbeat of the model's shard."""
        number = sum(isinstance(record.event, HeartbeatEvent) for record in self.records)
        fields: dict[str, Any] = {
            "time": received,
            "received": received,
            "shard": "abc",
            "number": number,
            "next_us": HOUR,
        }
        self._append(HeartbeatEvent(**self._stamp(), **(fields | changes)))

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
        self.records.append(Record(self.source, 1, self._next(), event, b"bytes"))


class FakeReader:
    """A `Reader` of records in memory that repeats a tenth of the records."""

    def __init__(
        self, records: Sequence[Record], positions: Positions, chance: random.Random
    ) -> None:
        self._records = records
        self._at = 0
        self._positions = dict(positions)
        self._delivered: list[Record] = []
        self._chance = chance
        self.patience = 0.0
        self.drained = False

    def poll(self, limit: int) -> Sequence[Record]:
        batch: list[Record] = []
        while self._at < len(self._records) and len(batch) < limit:
            record = self._records[self._at]
            start = self._positions.get(record.source, Position(0, 0))
            if Position(record.epoch, record.sequence) < start:
                self._at += 1
            elif self._delivered and self._chance.random() < 0.1:
                batch.append(self._chance.choice(self._delivered))
            else:
                self._delivered.append(record)
                batch.append(record)
                self._at += 1
        self.drained = len(batch) < limit
        return batch

    def gaps(self) -> Sequence[Gap]:
        return ()

    def close(self) -> None:
        pass


class History:
    """The policy history of the registry; every version has the same policies."""

    def __init__(self) -> None:
        self.changes: list[DatedPolicy] = []
        self.chosen: list[RecordedBaseline] = []

    def change(self, at: int, policy: Monitoring) -> None:
        """Record a policy change at a time of the registry's clock."""
        self.changes.append(DatedPolicy(policy, at))

    def policies(self, version: Version) -> list[DatedPolicy]:
        return [DatedPolicy(version.manifest.monitoring, 0), *self.changes]

    def baselines(self, _version: Version) -> list[RecordedBaseline]:
        return self.chosen

    def revision(self) -> int:
        return len(self.changes) + len(self.chosen)

    def changed(self, since: int) -> set[str]:
        return {"tiny"} if self.revision() > since else set()


def like(policy: Monitoring = MANIFEST.monitoring, **fields: dict[str, Any]) -> Monitoring:
    """Return the policy with fields of its parts replaced."""
    parts = {
        name: msgspec.structs.replace(getattr(policy, name), **reported)
        for name, reported in fields.items()
    }
    return msgspec.structs.replace(policy, **parts)


def ticking(history: History) -> RegistryPolicies:
    """Return policies that poll the history at every step."""
    seconds = iter(range(1 << 40))
    return RegistryPolicies(history, lambda: next(seconds))


# Policy changes during the eight hours: hour of the change, new policy.
STORY = [
    (1.5, like(window={"max_rows": 7}, alarms={"consecutive": 1})),
    (3.2, like(window={"grace": 1800, "label_wait": 1800}, alarms={"consecutive": 3})),
    (5.9, like(window={"rows": 25, "step": 300}, alarms={"min_rows": 20, "drifted_share": 0.1})),
]


class Story(History):
    """A policy history with the changes of STORY."""

    def known(self) -> "Story":
        """Make all changes and return the history."""
        for hour, policy in STORY:
            self.change(T0 + int(hour * HOUR), policy)
        return self

    def hear(self, records: Iterable[Record]) -> None:
        """Make the changes whose time the records have passed."""
        newest = max((getattr(record.event, "time", 0) for record in records), default=0)
        for hour, policy in STORY[len(self.changes) :]:
            made = T0 + int(hour * HOUR)
            if newest > made + HOUR // 9:
                self.change(made, policy)


class FakeScorer:
    """Scores at once as a pure function of the job: drift from the third hour on."""

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
    """A consumer on a database; it continues at the stored positions."""

    def __init__(  # noqa: PLR0917 - tests state only what differs
        self,
        where: DatabaseAddress,
        records: Sequence[Record],
        chance: random.Random | None = None,
        scorer: FakeScorer | None = None,
        find: FindVersion | None = None,
        follow: Callable[[Positions], Reader] | None = None,
        policies: RegistryPolicies | None = None,
        retention: Retention | None = None,
        most_waiting: int = MOST_WAITING,
        baselines: BaselineFiles | None = None,
        announce: Callable[[Version, BaselineRecord], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = Database(where)
        journal = Journal(self.database)
        policies = policies or RegistryPolicies(History())
        state = ConsumerState(
            journal, find or find_row, policies.timeline, retention, policies.baselines
        )
        reader: Reader = FakeReader(records, state.positions, chance or random.Random(0))
        if follow is not None:
            reader = follow(state.positions)
        self.scorer = scorer or FakeScorer()
        evaluation = Evaluation(journal, state, page="http://page", clock=lambda: 7, notices=True)
        self.journal, self.reader = journal, reader
        self.consumer = Consumer(
            journal,
            state,
            reader,
            self.scorer,
            evaluation,
            changed_policies=policies.changed,
            most_waiting=most_waiting,
            baselines=baselines,
            announce=announce,
            clock=clock,
        )

    def drain(self, limit: int = 1000) -> None:
        while self.consumer.step(limit) or self.consumer.scoring or not self.consumer.drained:
            pass

    def dies(self, statements: int, limit: int) -> bool:
        """Drain, but die after so many database statements, without rollback, commit or close.

        Return whether the monitor died before the log was drained.
        """
        with dying(self.database, statements) as driver:
            try:
                self.drain(limit)
            except SystemExit:
                return True
            finally:
                driver.close()
        return False


class Dying:
    """A database driver that raises `SystemExit` after a number of calls of any kind."""

    def __init__(self, driver: Driver, left: int) -> None:
        self._driver = driver
        self._left = left

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise SystemExit("killed")
        return getattr(self._driver, name)

    def rollback(self) -> None:
        """Do nothing: a killed process rolls nothing back."""


@contextmanager
def dying(database: Database, statements: int) -> Iterator[Driver]:
    """Let the database die after so many statements; yield the intact driver."""
    driver = database._driver  # noqa: SLF001  # a fault behind the port
    database._driver = Dying(driver, statements)  # noqa: SLF001
    try:
        yield driver
    finally:
        database._driver = driver  # noqa: SLF001


def eight_hours() -> Log:
    """Return eight hours of events.

    Drift begins with the third hour. Labels follow after an hour, some twice, some never.
    Reviewers decide on some rows after two hours. Some values are missing, and some are outside
    the reference's range.
    """
    log, chance, values = Log(), random.Random(5), random.Random(6)
    actions: random.Random = random.Random(7)
    waiting: list[tuple[int, str]] = []
    for n in range(400):
        time = T0 + n * HOUR // 50
        time_of_event = time + chance.randrange(-HOUR // 10, HOUR // 10)
        x = Tensor("FP32", [1, 1], [values.choice([0.5, 0.5, None, -1.0, "Infinity"])])
        log.predict(time_of_event, f"p{n}", inputs={"x": x})
        waiting.append((time + HOUR, f"p{n}"))
        while waiting and waiting[0][0] <= time:
            _, name = waiting.pop(0)
            for _ in range(chance.choice([0, 1, 1, 1, 2])):
                log.tell(name, chance.randrange(2))
            number = int(name[1:])
            if number >= 60:  # the review period has ended and some rows were picked
                action = actions.choice(("accept", "correct", "undo"))
                log.review(f"p{number - 60}", action, actions.randrange(2))
        if n % 9 == 0:
            log.beat(RECEIVED)
    return log


# Without the ledger: its duplicates depend on the fake reader.
TABLES = (
    "results",
    "alarms",
    "outbox",
    "totals",
    "windows",
    "dead_letters",
    "positions",
    "review_rows",
    "review_periods",
)


def everything(where: DatabaseAddress) -> dict[str, list[tuple[object, ...]]]:
    """Return the tables that must not depend on how the log was read."""
    database = Database(where)
    try:
        return {table: sorted(database.all(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
    finally:
        database.close()
