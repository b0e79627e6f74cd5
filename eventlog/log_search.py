"""Find the events of one prediction in the local log.

Segments are not compressed, so a segment without the bytes of the id is skipped without decoding.
At most one segment is in memory at a time.
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

CHUNK = 8 << 20  # bytes
MOST_EVENTS = 1_000  # events in a result, because clients can repeat a label without limit


class LogSearch(msgspec.Struct):
    """The result of a search, and the amount of data that was read."""

    sources: int = 0
    segments: int = 0
    size: int = 0  # bytes
    predictions: list[PredictionEvent] = []  # without inputs, outputs and summaries
    labels: list[FeedbackEvent] = []
    omitted: int = 0  # events beyond MOST_EVENTS
    damaged: int = 0  # damaged byte ranges in segments that contain the id


def find_prediction(
    log: Path, prediction_id: str, progress: Callable[[int, int], None] = lambda _read, _size: None
) -> LogSearch:
    """Search every segment; `progress` is called with the bytes read and the total bytes.

    The events of the result are ordered by reception.
    """
    key = join_key(prediction_id)
    needle = msgspec.json.encode(key)[1:-1]
    folders = sorted(log.iterdir()) if log.is_dir() else []
    # The log folder also contains a file, the log's identity.
    sources = [folder for folder in folders if folder.is_dir()]
    of_source = [present for folder in sources if (present := segments(folder))]
    result = LogSearch(sources=len(of_source))
    every = [(segment, _size(segment)) for present in of_source for segment in present]
    total = sum(size for _, size in every)
    for segment, _ in every:
        with suppress(FileNotFoundError):  # deleted by retention
            read = result.size
            for size, holds in _chunks(segment.path, needle):
                result.size += size
                progress(min(result.size, total), total)
                if holds:
                    break
            else:
                result.segments += 1
                continue
            data = segment.path.read_bytes()
            result.size = read + len(data)
            result.segments += 1
            _add_events(data, key, needle, result)
            progress(min(result.size, total), total)
    result.predictions.sort(key=lambda event: (event.received, event.source, event.sequence))
    result.labels.sort(key=lambda event: (event.received, event.source, event.sequence))
    return result


def _size(segment: Segment) -> int:
    with suppress(FileNotFoundError):
        return segment.path.stat().st_size
    return 0


def _chunks(path: Path, needle: bytes) -> Iterator[tuple[int, bool]]:
    """Yield the size of each chunk, and whether the needle ends in the chunk."""
    end = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield len(chunk), needle in end + chunk[: len(needle)] or needle in chunk
            end = chunk[-len(needle) :]


def _add_events(data: bytes, key: str, needle: bytes, result: LogSearch) -> None:
    for piece in frames.split(data, final=False):
        if not isinstance(piece, frames.Frame):
            result.damaged += 1
            continue
        for value in piece.values:
            event = _event(value, key) if needle in value else None
            if event is None:
                continue
            if len(result.predictions) + len(result.labels) >= MOST_EVENTS:
                result.omitted += 1
            elif isinstance(event, PredictionEvent):
                result.predictions.append(
                    msgspec.structs.replace(event, inputs={}, outputs={}, summaries={})
                )
            else:
                result.labels.append(event)


def _event(value: bytes, key: str) -> RequestEvent | None:
    with suppress(UnreadableEvent):
        event = wire.decode(value)
        if not isinstance(event, HeartbeatEvent) and event.joined_by == key:
            return event
    return None
