"""Records on their way from the monitor that read them to the one that takes them in.

What costs most of an event is done before: it is decoded, its values are laid out and encoded as
they will be kept. What does not fit travels as it came, so that it is set aside as anywhere else.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.log import Gap, Position, Record
from monitoring.state import rows
from registry.errors import RegistryError
from registry.manifest import Version


class Entry(msgspec.Struct, array_like=True):
    """One record; its stream and the epoch of its place are those of the chunk."""

    source: str
    epoch: int
    sequence: int
    beyond: int  # sequence of the place after it
    value: bytes  # the event, without its values where they are in `bodies`
    unreadable: str | None = None  # the reason
    bodies: list[bytes] | None = None  # of every answered row


class Chunk(msgspec.Struct, array_like=True):
    """Part of one stream, or a gap in it."""

    stream: str
    life: int
    entries: list[Entry]
    gap: Gap | None = None


class PreparedRecord(Record, frozen=True):
    """A prediction whose values were laid out and encoded before."""

    bodies: Sequence[bytes] = ()


class Preparing:
    """Lays out the values of events by their manifests."""

    def __init__(self, find_version: Callable[[str, str], Version]) -> None:
        """`find_version` raises RegistryError for what is not registered."""
        self._find_version = find_version
        self._layouts: dict[tuple[str, str], rows.Layout] = {}

    def entry(self, record: Record) -> Entry:
        """The record as it travels."""
        bodies, value, event = None, record.value, record.event
        if isinstance(event, PredictionEvent) and (bodies := self._bodies(event)) is not None:
            value = wire.encode(replace(event, inputs={}, outputs={}))
        return Entry(
            record.source,
            record.epoch,
            record.sequence,
            record.after.sequence,
            value,
            str(event) if isinstance(event, UnreadableEvent) else None,
            bodies,
        )

    def _bodies(self, event: PredictionEvent) -> list[bytes] | None:
        """The values of every answered row; None where there are none, or they do not fit."""
        if event.outcome != "ok" or event.payload != "kept" or not event.version:
            return None
        try:
            return [rows.encode(row) for row in self._layout(event).rows(event)]
        except (RegistryError, KeyError, ValueError, TypeError):
            return None

    def _layout(self, event: PredictionEvent) -> rows.Layout:
        key = event.model, event.version
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = rows.Layout(self._find_version(*key).manifest)
        return layout


def record(chunk: Chunk, entry: Entry) -> Record:
    """The record that an entry stands for."""
    event = (
        wire.decode(entry.value) if entry.unreadable is None else UnreadableEvent(entry.unreadable)
    )
    told = (entry.source, entry.epoch, entry.sequence, event)
    beyond = Position(chunk.life, entry.beyond)
    if entry.bodies is None:
        return Record(*told, entry.value, chunk.stream, beyond)
    return PreparedRecord(*told, entry.value, chunk.stream, beyond, entry.bodies)
