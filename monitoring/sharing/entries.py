"""Records on their way from the monitor that read them to the one that takes them in.

What costs most of an event is done before: it is decoded, its values are laid out and encoded as
they will be stored. What does not fit travels unchanged, so that it is dead-lettered as anywhere
else.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.log import Gap, Position, Record
from monitoring.counters.row_counters import RowCounters
from monitoring.ingest.prepared_record import PreparedRecord
from monitoring.storage import row_layout, rows
from monitoring.storage.predictions import Key
from registry.errors import RegistryError
from registry.manifest import Version
from registry.sampled_tensors import shown_inputs

Rows = Sequence[Sequence[Any]]


class Entry(msgspec.Struct, array_like=True):
    """One record; its stream and the epoch of its place are those of the chunk."""

    source: str
    epoch: int
    sequence: int
    beyond: int  # sequence of the place after it
    value: bytes  # the event, without its values where they are in `bodies`
    unreadable: str | None = None  # the reason
    bodies: list[bytes] | None = None  # of every answered row
    codes: list[bytes] | None = None  # of their values (`RowCounters.value_codes`)
    predicted: list[bytes | None] | None = None  # the prediction of each
    received: int | None = None  # of an unreadable record, where it is known


class Chunk(msgspec.Struct, array_like=True):
    """Part of one stream, or a gap in it."""

    stream: str
    life: int
    entries: list[Entry]
    gap: Gap | None = None


class EntryEncoder:
    """Lays out the values of events by their manifests, and looks at them."""

    def __init__(self, find_version: Callable[[str, str], Version]) -> None:
        """`find_version` raises RegistryError for what is not registered."""
        self._find_version = find_version
        self._known: dict[Key, _Known] = {}

    def entries(self, records: Sequence[Record]) -> list[Entry]:
        """The records as they travel."""
        entries: list[Entry] = []
        answered: defaultdict[Key, list[tuple[Entry, Rows]]] = defaultdict(list)
        for record in records:
            entry, event = _entry(record), record.event
            entries.append(entry)
            if isinstance(event, PredictionEvent) and (laid := self._lay_out(event, entry)):
                answered[event.model, event.version].append((entry, laid))
        for key, parts in answered.items():
            self._look_at(key, parts)
        return entries

    def _lay_out(self, event: PredictionEvent, entry: Entry) -> Rows:
        """The values of every answered row; empty where there are none, or they do not fit."""
        if event.outcome != "ok" or event.payload != "kept" or not event.version:
            return []
        if not event.online:
            return []
        try:
            layout = self._of((event.model, event.version)).layout
            laid = layout.rows(event)
            if layout.has_more(event) or self._of((event.model, event.version)).shows_inputs:
                return []  # travels as it came, so that it is counted as anywhere else
            entry.bodies = [rows.encode(row) for row in laid]
            entry.predicted = [layout.prediction(row) for row in laid]
        except (RegistryError, KeyError, ValueError, TypeError):
            return []
        entry.value = wire.encode(replace(event, inputs={}, outputs={}, summaries={}))
        return laid

    def _look_at(self, key: Key, parts: Sequence[tuple[Entry, Rows]]) -> None:
        """Add the value codes of the rows of these entries, all of one version."""
        codes = self._of(key).counters.value_codes([row for _, laid in parts for row in laid])
        if codes is not None:
            each = iter(codes)
            for entry, laid in parts:
                entry.codes = list(islice(each, len(laid)))

    def _of(self, key: Key) -> "_Known":
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(self._find_version(*key))
        return known


class _Known:
    """What preparing needs of one version."""

    def __init__(self, version: Version) -> None:
        self.layout = row_layout.RowLayout(version.manifest)
        self.counters = RowCounters(version)
        self.shows_inputs = bool(shown_inputs(version.manifest))


def _entry(record: Record) -> Entry:
    event = record.event
    entry = Entry(record.source, record.epoch, record.sequence, record.after.sequence, record.whole)
    if isinstance(event, UnreadableEvent):
        entry.unreadable, entry.received = str(event), event.received
    return entry


def record(chunk: Chunk, entry: Entry) -> Record:
    """The record that an entry stands for."""
    event = (
        wire.decode(entry.value)
        if entry.unreadable is None
        else UnreadableEvent(entry.unreadable, entry.received)
    )
    place = (entry.source, entry.epoch, entry.sequence, event)
    beyond = Position(chunk.life, entry.beyond)
    if entry.bodies is None:
        return Record(*place, entry.value, chunk.stream, beyond)
    nothing = [None] * len(entry.bodies)  # from a monitor of an earlier release
    parts = zip(entry.bodies, entry.predicted or nothing, entry.codes or nothing, strict=True)
    answers = [row_layout.PredictedRow(*one) for one in parts]
    return PreparedRecord(*place, entry.value, chunk.stream, beyond, answers=answers)
