"""Encode and decode events, and build their CloudEvents headers for Kafka."""

from datetime import UTC, datetime, timedelta

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, PredictionEvent

encode = msgspec.json.Encoder().encode  # event -> JSON bytes
_SPECVERSION = ("ce_specversion", b"1.0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTENT_TYPE = ("content-type", b"application/json")
_TYPES: dict[type[Event], tuple[str, bytes]] = {
    kind: ("ce_type", str(kind.__struct_config__.tag).encode())
    for kind in (PredictionEvent, FeedbackEvent)
}
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


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
    if "\0" in event.prediction_id or "\0" in event.source:
        raise UnreadableEvent("its source or its prediction id holds a character that no name has")
    return event


def key(event: Event) -> bytes:
    """Return the partition key: a prediction and its labels share a partition."""
    return event.prediction_id.encode()


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
