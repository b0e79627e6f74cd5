"""Schema versions, fixed by golden bytes: these literals must never change."""

import msgspec
import pytest

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import (
    Event,
    FeedbackEvent,
    FeedbackEventV1,
    HeartbeatEvent,
    PredictionEvent,
    PredictionEventV1,
    Tensor,
)

PREDICTION_V1 = PredictionEventV1(
    source="serving-0",
    epoch=2,
    sequence=41,
    time=1_372_636_800_000_000,
    received=1_372_636_800_000_123,
    prediction_id="4f1c-29",
    model="flights",
    version="1",
    digest="9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
    alias="champion",
    revision=3,
    protocol="rest",
    outcome="ok",
    request_id="mine",
    rows=2,
    batch_id="4f1c-b7",
    batch_rows=5,
    batch_offset=3,
    queue_us=12,
    run_us=210,
    total_us=431,
    inputs={
        "distance": Tensor("FP32", [2, 1], [1400.0, None]),
        "carrier": Tensor("BYTES", [2, 1], ["UA", ""]),
    },
    outputs={"label": Tensor("INT64", [2], [0, 1])},
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
PREDICTION_V1_BYTES = (
    b'{"type":"driftline.prediction.v1","source":"serving-0","epoch":2,"sequence":41,'
    b'"time":1372636800000000,"received":1372636800000123,"prediction_id":"4f1c-29",'
    b'"model":"flights","protocol":"rest","outcome":"ok","version":"1",'
    b'"digest":"9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",'
    b'"alias":"champion","revision":3,"request_id":"mine","rows":2,"batch_id":"4f1c-b7",'
    b'"batch_rows":5,"batch_offset":3,"queue_us":12,"run_us":210,"total_us":431,'
    b'"inputs":{"distance":{"datatype":"FP32","shape":[2,1],"data":[1400.0,null]},'
    b'"carrier":{"datatype":"BYTES","shape":[2,1],"data":["UA",""]}},'
    b'"outputs":{"label":{"datatype":"INT64","shape":[2],"data":[0,1]}},'
    b'"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'
)
FEEDBACK_V1 = FeedbackEventV1(
    source="serving-0",
    epoch=2,
    sequence=42,
    time=1_372_640_400_000_000,
    received=1_372_640_400_000_007,
    prediction_id="4f1c-29",
    label=1,
    row=1,
)
FEEDBACK_V1_BYTES = (
    b'{"type":"driftline.feedback.v1","source":"serving-0","epoch":2,"sequence":42,'
    b'"time":1372640400000000,"received":1372640400000007,"prediction_id":"4f1c-29",'
    b'"label":1,"row":1}'
)

PREDICTION = PredictionEvent(
    **{name: getattr(PREDICTION_V1, name) for name in PredictionEvent.__struct_fields__}
    | {"prediction_id": "820ac31a93-5e0c3b9a11d2-1f-ae82d6952fd4", "shard": "820", "number": 30}
)
PREDICTION_BYTES = (
    PREDICTION_V1_BYTES.replace(b".v1", b".v2")
    .replace(b"4f1c-29", b"820ac31a93-5e0c3b9a11d2-1f-ae82d6952fd4")
    .removesuffix(b"}")
    + b',"shard":"820","number":30}'
)
FEEDBACK = FeedbackEvent(
    source="serving-0",
    epoch=2,
    sequence=42,
    time=1_372_640_400_000_000,
    received=1_372_640_400_000_007,
    prediction_id="820ac31a93-5e0c3b9a11d2-1f-ae82d6952fd4",
    label=1,
    row=1,
    shard="820",
    number=31,
    actor="key:backoffice",
    verified=True,
)
FEEDBACK_BYTES = (
    b'{"type":"driftline.feedback.v2","source":"serving-0","epoch":2,"sequence":42,'
    b'"time":1372640400000000,"received":1372640400000007,'
    b'"prediction_id":"820ac31a93-5e0c3b9a11d2-1f-ae82d6952fd4","label":1,"row":1,'
    b'"shard":"820","number":31,"actor":"key:backoffice","verified":true}'
)
HEARTBEAT = HeartbeatEvent(
    source="serving-0",
    epoch=2,
    sequence=43,
    time=1_372_640_405_000_000,
    received=1_372_640_405_000_000,
    shard="820",
    number=32,
    predictions=31,
    labels=1,
    next_us=10_000_000,
)
HEARTBEAT_BYTES = (
    b'{"type":"driftline.heartbeat.v2","source":"serving-0","epoch":2,"sequence":43,'
    b'"time":1372640405000000,"received":1372640405000000,"shard":"820","number":32,'
    b'"predictions":31,"labels":1,"next_us":10000000}'
)
HEAD = HeartbeatEvent(
    source="serving-0",
    epoch=2,
    sequence=44,
    time=1_372_640_406_000_000,
    received=1_372_640_406_000_000,
    shard="0a1",
    number=0,
    next_us=10_000_000,
    revision=41,
    chain="9f2c" * 16,
)
HEAD_BYTES = (
    b'{"type":"driftline.heartbeat.v2","source":"serving-0","epoch":2,"sequence":44,'
    b'"time":1372640406000000,"received":1372640406000000,"shard":"0a1","next_us":10000000,'
    b'"revision":41,"chain":"9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c"}'
)
GOLDEN: dict[str, tuple[Event, bytes]] = {
    "prediction.v1": (PREDICTION_V1, PREDICTION_V1_BYTES),
    "feedback.v1": (FEEDBACK_V1, FEEDBACK_V1_BYTES),
    "prediction.v2": (PREDICTION, PREDICTION_BYTES),
    "feedback.v2": (FEEDBACK, FEEDBACK_BYTES),
    "heartbeat.v2": (HEARTBEAT, HEARTBEAT_BYTES),
    "heartbeat.v2 of a head": (HEAD, HEAD_BYTES),
}


@pytest.mark.parametrize(("event", "data"), GOLDEN.values(), ids=GOLDEN)
def test_events_are_written_and_read_as_their_schema_version_always_did(
    event: Event, data: bytes
) -> None:
    assert wire.encode(event) == data
    assert wire.decode(data) == event
    assert type(wire.decode(data)) is type(event)


def test_events_of_version_1_are_unchanged() -> None:
    assert isinstance(PREDICTION_V1, PredictionEvent)
    assert isinstance(FEEDBACK_V1, FeedbackEvent)
    assert (PREDICTION_V1.shard, FEEDBACK_V1.shard, FEEDBACK_V1.actor) == ("", "", "")
    assert FEEDBACK_V1.may_precede
    assert FEEDBACK.may_precede
    assert not msgspec.structs.replace(FEEDBACK, verified=False).may_precede


def test_fields_of_a_later_writer_are_ignored() -> None:
    later = FEEDBACK_BYTES.replace(b'"row":1', b'"row":1,"certainty":0.9')
    assert wire.decode(later) == FEEDBACK


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (FEEDBACK_BYTES.replace(b"feedback.v2", b"feedback.v9"), "Invalid value"),
        (FEEDBACK_BYTES.replace(b'"row":1', b'"row":"x"'), r"\$\.row"),
        (FEEDBACK_BYTES.replace(b'"label":1,', b""), "label"),
        (PREDICTION_BYTES.replace(b"[1400.0,null]", b"[" * 100_000), "nested too deeply"),
    ],
)
def test_bytes_that_are_not_an_event_are_refused_with_the_reason(
    data: bytes, complaint: str
) -> None:
    with pytest.raises(UnreadableEvent, match=complaint):
        wire.decode(data)


def test_kafka_headers_follow_cloudevents_in_binary_mode() -> None:
    assert wire.headers(PREDICTION) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"serving-0:2:41"),
        ("ce_type", b"driftline.prediction.v2"),
        ("ce_source", b"/driftline/serving-0"),
        ("ce_time", b"2013-07-01T00:00:00+00:00"),
        ("content-type", b"application/json"),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]
    assert wire.key(PREDICTION) == wire.key(FEEDBACK)


def test_counts_of_the_rows_of_a_file_are_the_last_field() -> None:
    counts = {"price": {"missing": 1, "outside": 2}, "prediction": {"0": 3}}
    counted = msgspec.structs.replace(PREDICTION, counts=counts)
    golden = (
        PREDICTION_BYTES.removesuffix(b"}")
        + b',"counts":{"price":{"missing":1,"outside":2},"prediction":{"0":3}}}'
    )
    assert wire.encode(counted) == golden
    assert wire.decode(golden) == counted
