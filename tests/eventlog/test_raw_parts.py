"""Raw tensor contents are stored next to their event's JSON, in every log and reader."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from driftline.event_export import EventFilter, export_events
from eventlog import wire
from eventlog.dead_letters import dead_letter
from eventlog.errors import UnreadableEvent
from eventlog.events import PredictionEvent, Tensor
from eventlog.kafka import KafkaSettings, message
from eventlog.kafka_reader import read_message
from eventlog.kafka_records import FetchedRecord
from eventlog.log import Record
from eventlog.segments import SegmentWriter
from tests.eventlog.event_makers import read_all

NUMBERS = b"\0\0\x80\x3f\0\0\0\x40"  # 1.0 and 2.0
LABEL = b"\1\0\0\0\0\0\0\0"
VALUE = (
    b'{"type":"driftline.prediction.v2","source":"s-0","epoch":1,"sequence":0,"time":5,'
    b'"received":6,"prediction_id":"p","model":"m","protocol":"rest","outcome":"ok","rows":2,'
    b'"inputs":{"x":{"datatype":"FP32","shape":[2],"data":[],"raw_at":[0,8]},'
    b'"n":{"datatype":"INT64","shape":[1],"data":[7]}},'
    b'"outputs":{"y":{"datatype":"INT64","shape":[1],"data":[],"raw_at":[8,8]}}}'
)


def _event(**changes: Any) -> PredictionEvent:
    numbers: Any = memoryview(NUMBERS)
    label: Any = LABEL
    fields: dict[str, Any] = {
        "source": "s-0",
        "epoch": 1,
        "sequence": 0,
        "time": 5,
        "received": 6,
        "prediction_id": "p",
        "model": "m",
        "protocol": "rest",
        "outcome": "ok",
        "rows": 2,
        "inputs": {
            "x": Tensor("FP32", [2], [], numbers),
            "n": Tensor("INT64", [1], [7]),
        },
        "outputs": {"y": Tensor("INT64", [1], [], label)},
    }
    return PredictionEvent(**fields | changes)


def _values(event: Any) -> tuple[list[Any], list[Any]]:
    return event.inputs["x"].values(), event.outputs["y"].values()


def test_the_value_and_the_raw_part_never_change() -> None:
    value, parts = wire.encode_record(_event())
    assert value == VALUE
    assert b"".join(parts) == NUMBERS + LABEL


def test_a_reader_sees_no_difference() -> None:
    event = wire.decode(VALUE, NUMBERS + LABEL)
    assert _values(event) == ([1.0, 2.0], [1])
    inline = wire.encode(event)
    assert json.loads(inline)["inputs"]["x"]["raw"] == b64encode(NUMBERS).decode()
    assert b"raw_at" not in inline
    assert _values(wire.decode(inline)) == ([1.0, 2.0], [1])


def test_events_without_raw_contents_are_encoded_as_before() -> None:
    event = _event(inputs={"x": Tensor("FP32", [1], [1.0])}, outputs={})
    assert wire.encode_record(event) == (wire.encode(event), [])
    text = _event(inputs={"x": Tensor("FP32", [2], [], b64encode(NUMBERS).decode())}, outputs={})
    assert wire.encode_record(text) == (wire.encode(text), [])


def test_log_and_export_contain_raw_parts(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path / "log", "s")
    writer.append([_event(source=writer.source, epoch=writer.epoch)])
    writer.close()
    (record,) = read_all(tmp_path / "log")
    assert record.raw == NUMBERS + LABEL
    assert _values(record.event) == ([1.0, 2.0], [1])
    assert _values(wire.decode(record.whole)) == ([1.0, 2.0], [1])
    assert dead_letter(record, "because").record == record.whole
    export_events(tmp_path / "log", tmp_path / "out.jsonl", EventFilter())
    assert _values(wire.decode((tmp_path / "out.jsonl").read_bytes())) == ([1.0, 2.0], [1])


def _logged() -> Record:
    raw = NUMBERS + LABEL
    return Record("s-0", 1, 0, wire.decode(VALUE, raw), VALUE, raw=raw)


def test_kafka_records_have_raw_parts_in_a_header() -> None:
    settings = KafkaSettings(bootstrap_servers="nowhere:9092")
    sent = message(_logged(), settings)
    headers = dict(sent.headers)
    assert (sent.value, headers[wire.RAW]) == (VALUE, NUMBERS + LABEL)
    assert headers["content-type"] == b"application/json"
    fetched = FetchedRecord(3, sent.value, headers[wire.RAW])
    assert read_message(fetched, "t/0", 9).event == _logged().event


def test_a_record_too_large_with_its_raw_part_is_sent_without_it() -> None:
    settings = KafkaSettings(bootstrap_servers="nowhere:9092", largest_message=len(VALUE) + 10)
    sent = message(_logged(), settings)
    event = wire.decode(sent.value)
    assert isinstance(event, PredictionEvent)
    assert (event.payload, event.payload_bytes) == ("digest", len(VALUE) + 16)
    assert wire.RAW not in dict(sent.headers)


def test_a_missing_raw_part_is_named() -> None:
    event = wire.decode(VALUE)
    assert isinstance(event, PredictionEvent)
    with pytest.raises(ValueError, match="raw part, which is missing"):
        event.inputs["x"].values()


@pytest.mark.parametrize("place", ["[0,17]", "[-1,4]", "[0,-1]", "[99,1]"])
def test_places_outside_the_raw_part_make_the_event_unreadable(place: str) -> None:
    value = VALUE.replace(b"[0,8]", place.encode())
    with pytest.raises(UnreadableEvent, match="tensor 'x': raw_at is"):
        wire.decode(value, NUMBERS + LABEL)
