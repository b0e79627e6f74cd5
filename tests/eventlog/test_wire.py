"""Schema version 1, held by golden bytes: these literals are never edited."""

import pytest

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor

PREDICTION = PredictionEvent(
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
PREDICTION_BYTES = (
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
FEEDBACK = FeedbackEvent(
    source="serving-0",
    epoch=2,
    sequence=42,
    time=1_372_640_400_000_000,
    received=1_372_640_400_000_007,
    prediction_id="4f1c-29",
    label=1,
    row=1,
)
FEEDBACK_BYTES = (
    b'{"type":"driftline.feedback.v1","source":"serving-0","epoch":2,"sequence":42,'
    b'"time":1372640400000000,"received":1372640400000007,"prediction_id":"4f1c-29",'
    b'"label":1,"row":1}'
)


@pytest.mark.parametrize(
    ("event", "data"), [(PREDICTION, PREDICTION_BYTES), (FEEDBACK, FEEDBACK_BYTES)]
)
def test_events_are_written_and_read_as_schema_version_1_always_did(
    event: Event, data: bytes
) -> None:
    assert wire.encode(event) == data
    assert wire.decode(data) == event


def test_fields_of_a_later_writer_are_ignored() -> None:
    later = FEEDBACK_BYTES.replace(b'"row":1', b'"row":1,"certainty":0.9')
    assert wire.decode(later) == FEEDBACK


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (FEEDBACK_BYTES.replace(b"feedback.v1", b"feedback.v9"), "Invalid value"),
        (FEEDBACK_BYTES.replace(b'"row":1', b'"row":"x"'), r"\$\.row"),
        (FEEDBACK_BYTES.replace(b'"label":1,', b""), "label"),
        (PREDICTION_BYTES.replace(b"[1400.0,null]", b"[" * 100_000), "nested too deeply"),
    ],
)
def test_bytes_that_are_no_event_say_why(data: bytes, complaint: str) -> None:
    with pytest.raises(UnreadableEvent, match=complaint):
        wire.decode(data)


def test_kafka_headers_follow_cloudevents_in_binary_mode() -> None:
    assert wire.headers(PREDICTION) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"serving-0:2:41"),
        ("ce_type", b"driftline.prediction.v1"),
        ("ce_source", b"/driftline/serving-0"),
        ("ce_time", b"2013-07-01T00:00:00+00:00"),
        ("content-type", b"application/json"),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]
    assert wire.key(PREDICTION) == wire.key(FEEDBACK)
