"""Find the events of one prediction in the local log.

Segments are not compressed, so one that does not hold the bytes of the id is passed over without
being decoded. At most one segment is in memory at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from eventlog import frames, wire
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent, HeartbeatEvent, PredictionEvent, RequestEvent
from eventlog.layout import Segment, segments
from eventlog.shards import join_key

_CHUNK = 8 << 20  # bytes
MOST_EVENTS = 1_000  # found; callers may repeat a label without end


class LogSearch(msgspec.Struct):
    """What was searched, and what was found."""

    sources: int = 0
    segments: int = 0
    size: int = 0  # bytes
    predictions: list[PredictionEvent] = []  # without inputs, outputs and summaries
    labels: list[FeedbackEvent] = []
    omitted: int = 0  # events beyond MOST_EVENTS
    damaged: int = 0  # ranges of bytes, in segments with the id, that are no frame


def find_prediction(
    log: Path, prediction_id: str, progress: Callable[[int, int], None] = lambda _read, _size: None
) -> LogSearch:
    """Search every segment; `progress` is called with the bytes that were read, and all bytes.

    Events are in the order of reception.
    """
    key = join_key(prediction_id)
    needle = msgspec.json.encode(key)[1:-1]
    folders = sorted(log.iterdir()) if log.is_dir() else []
    # The file with the identity of the log lies beside the folders of its sources.
    sources = [folder for folder in folders if folder.is_dir()]
    of_source = [present for folder in sources if (present := segments(folder))]
    found = LogSearch(sources=len(of_source))
    every = [(one, _size(one)) for present in of_source for one in present]
    total = sum(size for _, size in every)
    for segment, _ in every:
        with suppress(FileNotFoundError):  # deleted by retention
            read = found.size
            for size, holds in _chunks(segment.path, needle):
                found.size += size
                progress(min(found.size, total), total)
                if holds:
                    break
            else:
                found.segments += 1
                continue
            data = segment.path.read_bytes()
            found.size = read + len(data)
            found.segments += 1
            _add_events(data, key, needle, found)
            progress(min(found.size, total), total)
    found.predictions.sort(key=lambda one: (one.received, one.source, one.sequence))
    found.labels.sort(key=lambda one: (one.received, one.source, one.sequence))
    return found


def _size(segment: Segment) -> int:
    with suppress(FileNotFoundError):
        return segment.path.stat().st_size
    return 0


def _chunks(path: Path, needle: bytes) -> Iterator[tuple[int, bool]]:
    """Yield the size of each chunk, and whether the needle is in it or began before it."""
    end = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield len(chunk), needle in end + chunk[: len(needle)] or needle in chunk
            end = chunk[-len(needle) :]


def _add_events(data: bytes, key: str, needle: bytes, found: LogSearch) -> None:
    for piece in frames.split(data, final=False):
        if not isinstance(piece, frames.Frame):
            found.damaged += 1
            continue
        for value in piece.values:
            event = _event(value, key) if needle in value else None
            if event is None:
                continue
            if len(found.predictions) + len(found.labels) >= MOST_EVENTS:
                found.omitted += 1
            elif isinstance(event, PredictionEvent):
                found.predictions.append(
                    msgspec.structs.replace(event, inputs={}, outputs={}, summaries={})
                )
            else:
                found.labels.append(event)


def _event(value: bytes, key: str) -> RequestEvent | None:
    with suppress(UnreadableEvent):
        event = wire.decode(value)
        if not isinstance(event, HeartbeatEvent) and event.joined_by == key:
            return event
    return None
