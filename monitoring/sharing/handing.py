"""One monitor's part of reading: its partitions, prepared and handed over."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from typing import Protocol

from eventlog.log import Gap, Position, Record
from monitoring.sharing.entries import Chunk, EntryEncoder
from monitoring.sharing.handed import SharedChunks

_EVERY = 0.5  # seconds between two reports of a quiet stream
_AHEAD = 40  # chunks of a stream that may wait to be taken in; then its reader waits as well


class PartReader(Protocol):
    """A `Reader` that a group gives some of the streams."""

    @property
    def streams(self) -> Set[str]:
        """Every stream of the log, read here or elsewhere; empty while that is unknown."""
        ...

    @property
    def given(self) -> Set[str]:
        """Those that this reader reads."""
        ...

    @property
    def ended(self) -> Set[str]:
        """Those of them that were read to their end and handed out."""
        ...

    def poll(self, limit: int) -> Sequence[Record]:
        """What is new."""
        ...

    def gaps(self) -> Sequence[Gap]:
        """What had to be passed over."""
        ...


class StreamPublisher:
    """Reads what the group gives to this monitor, and hands it over."""

    def __init__(
        self,
        handed: SharedChunks,
        preparing: EntryEncoder,
        note: Callable[[Sequence[Record]], None] = lambda _records: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`note` hears of every poll and what it found; `clock` gives seconds, from anywhere."""
        self._note = note
        self.positions: dict[str, Position] = {}  # where reading of the claimed streams continues
        self._handed = handed
        self._preparing = preparing
        self._clock = clock
        self._claimed: set[str] = set()
        self._known: set[str] = set()
        self._reported: Set[str] = frozenset()  # what had ended at the last report
        self._due = 0.0

    def claim(self, stream: str) -> bool:
        """Whether this monitor may read a stream; a reader asks before it looks at `positions`."""
        self._know({stream})
        if stream not in self._claimed:
            if not self._handed.claim(stream):
                return False
            self._claimed.add(stream)
            self._begin(stream, self._handed.position(stream))
        return True

    def step(self, reader: PartReader, limit: int) -> bool:
        """Hand over at most `limit` records; whether there were any."""
        ahead = self._is_far_ahead()
        # Even then it looks: who waits for one stream must hear that another has ended.
        records, gaps = reader.poll(1 if ahead else limit), reader.gaps()
        self._note(records)
        self._know(reader.streams)
        ended = reader.ended & self._claimed
        if records or gaps or ended != self._reported or self._clock() >= self._due:
            self._hand_over(records, gaps, ended)
        for stream in sorted(self._claimed - reader.given):
            self._handed.release(stream)
            self._claimed.discard(stream)
            self._begin(stream, None)
        return bool(records) and not ahead

    def _is_far_ahead(self) -> bool:
        waiting = (s.chunks - s.taken for s in self._handed.streams() if s.name in self._claimed)
        return any(chunks > _AHEAD for chunks in waiting)

    def _know(self, streams: Set[str]) -> None:
        if fresh := streams - self._known:
            self._handed.know(fresh)
            self._known |= fresh

    def _begin(self, stream: str, at: Position | None) -> None:
        self.positions.pop(stream, None)
        if at is not None:
            self.positions[stream] = at

    def _hand_over(self, records: Sequence[Record], gaps: Sequence[Gap], ended: Set[str]) -> None:
        chunks = [Chunk(gap.stream, gap.after.epoch, [], gap) for gap in gaps]
        self.positions.update((gap.stream, gap.after) for gap in gaps)
        parts: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        for record in records:
            parts[record.stream, record.after.epoch].append(record)
        for (stream, life), part in parts.items():
            chunks.append(Chunk(stream, life, self._preparing.entries(part)))
            self.positions[stream] = part[-1].after
        reached = {stream: self.positions.get(stream) for stream in self._claimed}
        self._handed.hand_over(chunks, reached, ended)
        self._reported, self._due = ended, self._clock() + _EVERY
