"""Encode and decode events, and build their CloudEvents headers for Kafka."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.events import (
    Event,
    FeedbackEventV1,
    HeartbeatEvent,
    PredictionEvent,
    PredictionEventV1,
)

_Readable = Event | PredictionEventV1 | FeedbackEventV1

encode = msgspec.json.Encoder().encode  # event -> JSON bytes
_SPECVERSION = ("ce_specversion", b"1.0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTENT_TYPE = ("content-type", b"application/json")
_TYPES: dict[type[Event], tuple[str, bytes]] = {
    kind: ("ce_type", str(kind.__struct_config__.tag).encode()) for kind in get_args(_Readable)
}
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(_Readable)


def decode(data: bytes | memoryview) -> Event:
    """Decode an event; ignore unknown fields, which later releases may add.

    Raises UnreadableEvent with the invalid field or the unknown schema version.
    """
    try:
        event = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not an event of a known schema version: {error}") from None
    except RecursionError:
        raise UnreadableEvent("not an event of a known schema version: nested too deeply") from None
    named = event.shard if isinstance(event, HeartbeatEvent) else event.prediction_id
    if "\0" in named or "\0" in event.source:
        raise UnreadableEvent("its source or its prediction id holds a character that no name has")
    return event


def key(event: Event) -> bytes:
    """Return the partition key: all events of a model share a partition.

    An event of version 1 has no shard. It is keyed by its prediction id, as it always was.
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
