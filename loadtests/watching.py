"""What it costs the monitor to take in an event: part of `make bench`.

Decode, ledger, window, join, sample and commit, as `driftline monitor` does it; scoring, which is a
process of its own, is answered at once here.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.log import Positions, Reader
from eventlog.segments import SegmentWriter
from monitoring.conclusion import Conclusion
from monitoring.consumer import Consumer
from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.state.database import Database
from monitoring.state.journal import Journal
from monitoring.watching import Memory
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec, Version

FEATURES = 30
AT_ONCE = 2_000  # records in one transaction
DAY = 86_400_000_000  # microseconds, over which the events are spread
BEGIN = 1_372_636_800_000_000

MANIFEST = Manifest(
    task="classification",
    features=[Feature(f"f{n}", "numeric", input="x", index=n) for n in range(FEATURES)],
    prediction=Prediction("label", "probabilities", [0, 1], 1),
    target="y",
    held_out=True,
    signature=Signature(
        [TensorSpec("x", "FP32", [-1, FEATURES])],
        [TensorSpec("label", "INT64", [-1]), TensorSpec("probabilities", "FP32", [-1, 2])],
    ),
)

Follow = Callable[[Positions], Reader]


class _AtOnce:
    """A scorer that answers every job with nothing."""

    waiting = 0

    def __init__(self) -> None:
        self._replies: list[ScoreReply] = []

    def submit(self, job: ScoreJob) -> None:
        self._replies.append(ScoreReply(key=job.key, scores=[]))

    def replies(self) -> list[ScoreReply]:
        replies, self._replies = self._replies, []
        return replies


def write(folder: Path, predictions: int, *, labels: bool, models: int = 1) -> int:
    """A day of one-row events, with a label for each an hour later or without; how many."""
    writer, chance = SegmentWriter.claim(folder, "bench"), np.random.default_rng(1)
    values = chance.normal(size=(1_000, FEATURES)).astype(np.float32).round(6)
    rows = [[float(f"{one:.7g}") for one in row] for row in values]
    apart, waiting = DAY // predictions, 3_600_000_000 * predictions // DAY
    events: list[Event] = []
    for n in range(predictions):
        at = BEGIN + n * apart
        events.append(_prediction(writer, len(events), n, at, rows[n % 1_000], n % models))
        if labels and n >= waiting:
            events.append(_label(writer, len(events), n - waiting, at))
        if len(events) >= 32:
            writer.append(events)
            events = []
    writer.append(events)
    writer.close()
    return writer.next_sequence


def _prediction(  # noqa: PLR0913, PLR0917 - one row of a story
    writer: SegmentWriter, ahead: int, n: int, at: int, row: list[float], model: int
) -> PredictionEvent:
    return PredictionEvent(
        source=writer.source,
        epoch=writer.epoch,
        sequence=writer.next_sequence + ahead,
        time=at,
        received=at,
        prediction_id=_name(n),
        model=f"bench{model}",
        version="1",
        digest="d" * 64,
        protocol="rest",
        outcome="ok",
        rows=1,
        batch_id=f"11ff9d76658d-b{n // 32}",
        batch_rows=32,
        queue_us=40,
        run_us=310,
        total_us=500,
        inputs={"x": Tensor("FP32", [1, FEATURES], row)},
        outputs={
            "label": Tensor("INT64", [1], [n % 2]),
            "probabilities": Tensor("FP32", [1, 2], [0.25, 0.75]),
        },
    )


def _label(writer: SegmentWriter, ahead: int, n: int, at: int) -> FeedbackEvent:
    return FeedbackEvent(
        source=writer.source,
        epoch=writer.epoch,
        sequence=writer.next_sequence + ahead,
        time=at,
        received=at,
        prediction_id=_name(n),
        label=n % 2,
    )


def _name(n: int) -> str:
    """As the service names them: a worker's prefix and a number."""
    return f"11ff9d76658d-{n}"


def take_in(database: Path, follow: Follow) -> tuple[int, float, float]:
    """Take in a log to its end: events, seconds, seconds of CPU in all threads."""
    journal = Journal(Database(database))
    memory = Memory(journal, _version)
    reader = follow(memory.positions)
    conclusion = Conclusion(journal, memory, page="", clock=lambda: 0)
    consumer = Consumer(journal, memory, reader, _AtOnce(), conclusion)
    while not consumer.step(1) and not consumer.drained:  # connects
        pass
    started, spent = time.perf_counter(), time.process_time()
    while consumer.step(AT_ONCE) or not consumer.drained:
        pass
    seconds, cost = time.perf_counter() - started, time.process_time() - spent
    reader.close()
    found = journal.database.one("SELECT value FROM totals WHERE name = 'monitored_events'")
    journal.database.close()
    assert found is not None
    return int(str(found[0])), seconds, cost


def _version(model: str, number: str) -> Version:
    return Version(
        model=model, number=number, digest="d" * 64, created=0, manifest=MANIFEST, path=""
    )
