"""Encode and decode events, and build their CloudEvents headers for Kafka.

A record of the log has a value, which is the event as JSON, and optionally a raw part. The raw part
contains the values of large tensors, because base64 in JSON would be a third longer.
`Tensor.raw_at` states the position of a tensor's contents in the raw part.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from eventlog.batch_records import RAW_NAME
from eventlog.errors import UnreadableEvent
from eventlog.events import (
    Event,
    FeedbackEventV1,
    HeartbeatEvent,
    PredictionEvent,
    PredictionEventV1,
    Tensor,
)

_Readable = Event | PredictionEventV1 | FeedbackEventV1

encode = msgspec.json.Encoder().encode  # event -> JSON bytes, raw contents in base64
RAW = RAW_NAME.decode()  # name of the header that contains a record's raw part
_SPECVERSION = ("ce_specversion", b"1.0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTENT_TYPE = ("content-type", b"application/json")
_TYPES: dict[type[Event], tuple[str, bytes]] = {
    kind: ("ce_type", str(kind.__struct_config__.tag).encode()) for kind in get_args(_Readable)
}
TAGS = frozenset(tag.decode() for _, tag in _TYPES.values())  # tags of all readable events
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(_Readable)


def encode_record(event: Event) -> tuple[bytes, list[memoryview]]:
    """Encode an event as a record; return its value and the pieces of its raw part."""
    if not isinstance(event, PredictionEvent) or not _has_bytes(event):
        return encode(event), []
    parts: list[memoryview] = []
    inputs = {name: _move_contents(tensor, parts) for name, tensor in event.inputs.items()}
    outputs = {name: _move_contents(tensor, parts) for name, tensor in event.outputs.items()}
    return encode(replace(event, inputs=inputs, outputs=outputs)), parts


def _has_bytes(event: PredictionEvent) -> bool:
    for tensor in event.inputs.values():
        if tensor.raw and not isinstance(tensor.raw, str):
            return True
    return any(tensor.raw and not isinstance(tensor.raw, str) for tensor in event.outputs.values())


def _move_contents(tensor: Tensor, parts: list[memoryview]) -> Tensor:
    """Move a tensor's raw contents to `parts`; return the tensor with their position."""
    contents: Any = tensor.raw
    if not contents or isinstance(contents, str):
        return tensor
    part = memoryview(contents).cast("B")
    place = (sum(len(part) for part in parts), len(part))
    parts.append(part)
    return replace(tensor, raw="", raw_at=place)


def decode(data: bytes | memoryview, raw: bytes = b"") -> Event:
    """Decode an event; ignore unknown fields, which later releases can add.

    `raw` is the record's raw part. Raises UnreadableEvent with the invalid field or the unknown
    schema version.
    """
    try:
        event = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not an event of a known schema version: {error}") from None
    except RecursionError:
        raise UnreadableEvent("not an event of a known schema version: nested too deeply") from None
    name = event.shard if isinstance(event, HeartbeatEvent) else event.prediction_id
    if "\0" in name or "\0" in event.source:
        raise UnreadableEvent("source or prediction id contains a null character")
    return _with_raw(event, memoryview(raw)) if raw else event


def _with_raw(event: Event, raw: memoryview) -> Event:
    """Return the event with the raw contents in its tensors."""
    if not isinstance(event, PredictionEvent):
        return event
    inputs, outputs = _restore_contents(event.inputs, raw), _restore_contents(event.outputs, raw)
    return replace(event, inputs=inputs, outputs=outputs)


def _restore_contents(tensors: Mapping[str, Tensor], raw: memoryview) -> dict[str, Tensor]:
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.raw_at is None:
            whole[name] = tensor
            continue
        first, size = tensor.raw_at
        if first < 0 or size < 0 or first + size > len(raw):
            raise UnreadableEvent(
                f"tensor {name!r}: raw_at is {[first, size]}; the raw part has {len(raw)} bytes"
            )
        contents: Any = raw[first : first + size]
        whole[name] = replace(tensor, raw=contents, raw_at=None)
    return whole


def key(event: Event) -> bytes:
    """Return the partition key, which is the shard, so all events of a model share a partition.

    An event of version 1 has no shard. Its key is the prediction id, as in earlier releases.
    """
    if isinstance(event, HeartbeatEvent):
        return event.shard.encode()
    return (event.shard or event.prediction_id).encode()


def headers(event: Event) -> list[tuple[str, bytes]]:
    """Return CloudEvents 1.0 headers (Kafka binding, binary mode).

    Raises OverflowError if RFC 3339 cannot represent the event time.
    """
    time = _EPOCH + timedelta(microseconds=event.time)  # exact, unlike a float of seconds
    pairs = [
        _SPECVERSION,
        ("ce_id", event.event_id.encode()),
        _TYPES[type(event)],
        ("ce_source", f"/driftline/{event.source}".encode()),
        ("ce_time", time.isoformat().encode()),
        _CONTENT_TYPE,
    ]
    if isinstance(event, PredictionEvent) and event.traceparent:
        pairs.append(("traceparent", event.traceparent.encode()))
    return pairs
