"""Verify a whole log: count the readable, damaged and missing events of each source."""

from pathlib import Path

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.events import Event
from eventlog.layout import segments
from eventlog.log import Position, Record
from eventlog.segments import SegmentReader

_LIMIT = 2_000  # records in memory at a time


class SourceFindings(msgspec.Struct):
    """The counters of one source."""

    source: str
    epochs: int = 0  # number of the writer's starts
    events: int = 0  # readable events
    unreadable: int = 0  # records in frames with a wrong CRC, or bytes that are not an event
    missing: int = 0  # sequence numbers without record, because a full disk dropped the events
    gaps_by_shard: dict[str, int] = {}  # shard -> numbers without a readable record
    torn_bytes: int = 0  # size of an incomplete last frame, whose write is in progress or failed

    @property
    def whole(self) -> bool:
        """Return whether nothing is missing or damaged."""
        return not (self.unreadable or self.missing or self.torn_bytes or self.gaps_by_shard)


def verify(log: Path) -> list[SourceFindings]:
    """Read every source, and return the sources' findings, ordered by name."""
    counters: dict[str, _SourceCounter] = {}
    reader = SegmentReader(log, {})
    while records := reader.poll(_LIMIT):
        for record in records:
            counter = counters.get(record.source)
            if counter is None:
                counter = counters[record.source] = _SourceCounter(log / record.source)
            counter.add(record)
    torn = reader.torn()
    reader.close()
    for source in torn.keys() - counters.keys():
        counters[source] = _SourceCounter(log / source)
    for source, size in torn.items():
        counters[source].findings.torn_bytes = size
    return [counters[source].findings for source in sorted(counters)]


class _SourceCounter:
    """Count one source's records from its oldest segment; deleted segments do not count."""

    def __init__(self, folder: Path) -> None:
        first = segments(folder)[0]
        self.findings = SourceFindings(folder.name)
        self._expected = Position(first.epoch, first.base)
        self._numbers: dict[str, int] = {}  # shard -> next number in the epoch
        self._from_start = first.base == 0  # whether the first number of a shard must be 0

    def add(self, record: Record) -> None:
        findings = self.findings
        same = record.epoch == self._expected.epoch
        findings.missing += record.sequence - (self._expected.sequence if same else 0)
        findings.epochs += not same or not (findings.events or findings.unreadable)
        if not same:
            self._numbers, self._from_start = {}, True
        if isinstance(record.event, UnreadableEvent):
            findings.unreadable += 1
        else:
            findings.events += 1
            if record.event.shard:
                self._add_number(record.event)
        self._expected = Position(record.epoch, record.sequence + 1)

    def _add_number(self, event: Event) -> None:
        first = 0 if self._from_start else event.number
        gap = event.number - self._numbers.get(event.shard, first)
        self._numbers[event.shard] = event.number + 1
        if gap:
            gaps = self.findings.gaps_by_shard
            gaps[event.shard] = gaps.get(event.shard, 0) + gap
