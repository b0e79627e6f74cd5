"""Verify a whole log: what each source holds, and what is damaged or missing."""

from pathlib import Path

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.layout import segments
from eventlog.log import Position, Record
from eventlog.segments import SegmentReader

_LIMIT = 2_000  # records held at a time


class SourceFindings(msgspec.Struct):
    """What a source holds; `epochs` counts the writer's restarts."""

    source: str
    epochs: int = 0
    events: int = 0  # readable
    unreadable: int = 0  # a frame whose CRC is wrong, or bytes that are no event
    missing: int = 0  # sequences without a record, because a full disk dropped their events
    torn_bytes: int = 0  # at the end of the last segment: a write under way, or one cut short

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or damaged."""
        return not (self.unreadable or self.missing or self.torn_bytes)


def verify(log: Path) -> list[SourceFindings]:
    """Return the findings of every source, by name."""
    tallies: dict[str, _Tally] = {}
    reader = SegmentReader(log, {})
    while records := reader.poll(_LIMIT):
        for record in records:
            tally = tallies.get(record.source)
            if tally is None:
                tally = tallies[record.source] = _Tally(log / record.source)
            tally.add(record)
    torn = reader.torn()
    reader.close()
    for source in torn.keys() - tallies.keys():
        tallies[source] = _Tally(log / source)
    for source, size in torn.items():
        tallies[source].findings.torn_bytes = size
    return [tallies[source].findings for source in sorted(tallies)]


class _Tally:
    """Counters of one source, from its oldest segment on: deleted segments are not missing."""

    def __init__(self, folder: Path) -> None:
        first = segments(folder)[0]
        self.findings = SourceFindings(folder.name)
        self._expected = Position(first.epoch, first.base)

    def add(self, record: Record) -> None:
        found = self.findings
        same = record.epoch == self._expected.epoch
        found.missing += record.sequence - (self._expected.sequence if same else 0)
        found.epochs += not same or not (found.events or found.unreadable)
        if isinstance(record.event, UnreadableEvent):
            found.unreadable += 1
        else:
            found.events += 1
        self._expected = Position(record.epoch, record.sequence + 1)
