"""Any event that the service can write passes every later stage."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.event_export import EventFilter, export_events
from eventlog import wire
from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder, Sink
from eventlog.kafka import KafkaSettings, KafkaSink
from eventlog.kafka_reader import KafkaReader
from eventlog.log import Position
from eventlog.segments import SegmentReader, SegmentWriter
from monitoring.storage.database import DatabaseAddress
from monitoring.storage.store import Store
from service.errors import InvalidRequest
from service.protocol.event_time import EARLIEST, LATEST
from service.protocol.feedback import read_feedback
from service.protocol.tensors import to_tensor
from tests.eventlog.fake_kafka import FakeKafka
from tests.monitoring.log_in_memory import T0, Monitor

TEXTS = ["", "\0", "\x9b31m", "\u202etxt", "</script>", "a:b:c", "\N{PILE OF POO}" * 128, "x" * 128]
COUNTS = [0, 1, 2**31, 2**53, 2**63 - 1]
TIMES = [EARLIEST, LATEST, T0]
FLOATS = [math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-45, -0.0]
DOUBLES = [math.nan, math.inf, sys.float_info.max, 5e-324]
LABELS: list[Any] = [
    *TEXTS, "x" * 1_024, -(2**63), 2**64 - 1, sys.float_info.max, 5e-324, -0.0, True, False,
]  # fmt: skip
Made = dict[str, Any]


def answer(values: Sequence[float], time: int = T0, **changes: Any) -> Made:
    """A prediction of the version that the monitor knows, as the service lays it out."""
    rows = len(values)
    inputs = np.array(values, np.float32).reshape(rows, 1)
    outputs = np.array([[0.25, 0.75]] * rows, np.float32)
    made: Made = {
        "time": time,
        "prediction_id": "p",
        "model": "tiny",
        "version": "1",
        "protocol": "rest",
        "outcome": "ok",
        "rows": rows,
        "inputs": {"x": to_tensor("FP32", inputs)},
        "outputs": {
            "label": to_tensor("INT64", np.ones(rows, np.int64)),
            "probabilities": to_tensor("FP32", outputs),
        },
    }
    return made | changes


def refusal(**changes: Any) -> Made:
    """A request that no model stands behind."""
    made = answer([], outcome="invalid", version="", rows=0, inputs={}, outputs={})
    return made | changes


def label(prediction_id: str, value: Any, time: int = T0, row: int = 0) -> Made:
    return {"time": time, "prediction_id": prediction_id, "label": value, "row": row}


EVERY_EXTREME: list[Made] = [
    *(answer([1.0], time) for time in TIMES),
    *(answer([value]) for value in FLOATS),
    answer(FLOATS * 200),  # as raw bytes
    answer([1.0] * 60_000),  # larger than a message of Kafka
    *(answer([1.0], payload=payload, inputs={}, outputs={}) for payload in ("digest", "dropped")),
    *(
        answer([1.0], **{field: count})
        for field in ("revision", "batch_rows", "batch_offset", "queue_us", "run_us", "total_us")
        for count in COUNTS
    ),
    *(answer([1.0], request_id=text, alias="champion") for text in TEXTS),
    *(refusal(model=text, request_id=text, reason=text * 8) for text in TEXTS),
    *(refusal(inputs={text: Tensor("BYTES", [1], [text])}) for text in TEXTS),
    *(refusal(outcome=outcome) for outcome in ("refused", "expired", "cancelled", "failed")),
    refusal(inputs={"x": Tensor("BYTES", [1], ["x" * 2_000_000])}, version="1"),
    refusal(inputs={"x": to_tensor("FP64", np.array(DOUBLES * 600))}),
    *(label("p", value) for value in LABELS),
    *(label(text or "-", 1) for text in TEXTS if "\0" not in text),
    *(label("p", 1, time) for time in TIMES),
    label("p", 1, row=2**31 - 1),
]


def write(log: Path, made: Sequence[Made]) -> list[Event]:
    """Append an event for each, and one last that is like any other."""
    writer = SegmentWriter.claim(log, "host", clock=lambda: 1)
    events: list[Event] = []
    for one in [*made, answer([1.0], prediction_id="last")]:
        stamp = {"source": writer.source, "epoch": writer.epoch, "sequence": len(events)}
        kind = FeedbackEvent if "label" in one else PredictionEvent
        events.append(kind(**stamp, received=T0, **one))
        writer.append(events[-1:])
    writer.close()
    return [wire.decode(wire.encode(event)) for event in events]


def forward(home: Path, sink: Sink, kafka: KafkaSettings, count: int) -> None:
    """Forward the whole log: nothing the service writes is a dead letter."""
    cursors = Cursors(home / "forwarded.json")
    forwarder = Forwarder(lambda at: SegmentReader(home / "log", at), sink, cursors, kafka)
    while forwarder.step():
        pass
    assert cursors.positions == {"host-0": Position(1, count)}
    assert cursors.dead_letters.newest(10) == []
    cursors.close()


def monitored(where: DatabaseAddress, follow: Callable[..., Any], count: int) -> None:
    """Ingest the whole log: every event is known by its number, and the last as any other."""
    monitor = Monitor(where, [], follow=follow)
    monitor.drain()
    monitor.reader.close()
    store = Store(where)
    (book,) = store.ledger()
    assert (book.events, book.unreadable, book.lost, book.missing) == (count, 0, 0, 0)
    assert store.totals()["monitored_events"] == count
    store.close()


def _small(event: Event) -> Event:
    if isinstance(event, PredictionEvent):
        return replace(
            event, inputs={}, outputs={}, payload="digest", payload_digest="", payload_bytes=0
        )
    return event


def passes_every_stage(home: Path, where: DatabaseAddress, made: Sequence[Made]) -> None:
    """Write, forward, read and ingest, and export."""
    events = write(home / "log", made)
    kafka, topics = FakeKafka(), KafkaSettings()
    forward(home, kafka, topics, len(events))
    arrived = [wire.decode(message.value) for message in kafka.held]
    for event, found in zip(events, arrived, strict=True):
        assert found == event or _small(found) == _small(event)
    assert all(len(message.value) <= topics.largest_message for message in kafka.held)
    monitored(where, lambda at: SegmentReader(home / "log", at), len(events))
    assert export_events(home / "log", home / "all.jsonl", EventFilter()) == (len(events), 0)
    for kind in ("prediction", "feedback"):
        export_events(home / "log", home / f"{kind}.parquet", EventFilter(kind))


def test_every_field_at_its_extremes_passes_every_stage(
    tmp_path: Path, where: DatabaseAddress
) -> None:
    passes_every_stage(tmp_path, where, EVERY_EXTREME)


def test_every_field_at_its_extremes_passes_a_real_kafka(
    topics: KafkaSettings, tmp_path: Path
) -> None:
    events = write(tmp_path / "log", EVERY_EXTREME)
    sink = KafkaSink(topics)
    forward(tmp_path, sink, topics, len(events))
    sink.close()
    follow = lambda at: KafkaReader(topics, "m", at, patience=0)  # noqa: E731
    monitored(tmp_path / "monitor.db", follow, len(events))


_texts = st.sampled_from(TEXTS) | st.text(max_size=128)
_counts = st.sampled_from(COUNTS) | st.integers(0, 2**63 - 1)
_times = st.sampled_from(TIMES) | st.integers(EARLIEST, LATEST)
_values = st.sampled_from(FLOATS) | st.floats(width=32)
_answers = st.builds(
    answer,
    st.lists(_values, min_size=1, max_size=30),
    _times,
    prediction_id=st.sampled_from(["a", "b"]),
    request_id=_texts,
    revision=_counts,
    queue_us=_counts,
    run_us=_counts,
    total_us=_counts,
    cache_hit=st.booleans(),
)
_tensors = st.builds(
    lambda texts: Tensor("BYTES", [len(texts)], texts), st.lists(_texts, max_size=3)
)
_refusals = st.builds(
    refusal,
    time=_times,
    model=_texts,
    version=st.sampled_from(["", "1"]),
    outcome=st.sampled_from(["invalid", "refused", "expired", "cancelled", "failed"]),
    reason=_texts,
    rows=_counts,
    inputs=st.dictionaries(_texts, _tensors, max_size=2),
)


def _accepted(stated: Made) -> list[Made]:
    """The labels that a request states, as far as the service accepts it."""
    try:
        truths = read_feedback(wire.encode(stated))  # type: ignore[arg-type]
    except InvalidRequest:
        return []
    return [
        label(truth.prediction_id, truth.label, truth.event_time or T0, truth.row)
        for truth in truths
    ]


_labels = st.fixed_dictionaries(
    {
        "prediction_id": st.sampled_from(["a", "b"]) | _texts,
        "label": st.sampled_from(LABELS) | st.text(max_size=1_100) | st.integers() | st.floats(),
        "row": st.sampled_from([0, 1, 2**31 - 1]) | st.integers(-1, 2**31),
        "event_time": _times | st.integers(),
    }
).map(_accepted)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        _answers.map(lambda one: [one]) | _refusals.map(lambda one: [one]) | _labels, max_size=12
    )
)
def test_any_mixture_of_extremes_passes_every_stage(made: list[list[Made]]) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        passes_every_stage(home, home / "monitor.db", [one for some in made for one in some])
