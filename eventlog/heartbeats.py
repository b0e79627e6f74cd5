"""Log heartbeats: a writer's number of events per shard, every few seconds and at its end.

A shard with new events has a heartbeat at the next tick. One without has them at growing intervals:
idle shards cost the log about 100 heartbeats a minute at most, however many they are. Each
heartbeat states when the next one comes at the latest; a reader that misses it knows that the
writer died.

A worker also states the head of the registry's history as soon as it follows a change. To edit the
history unnoticed, one would have to edit every log that states it.
"""

from collections.abc import Callable

import msgspec

from eventlog.events import HeartbeatEvent
from eventlog.log import Appender
from eventlog.shards import NO_MODEL
from eventlog.stamps import Stamps

TICK_US = 5_000_000  # microseconds between ticks
LONGEST_US = 60_000_000  # microseconds between heartbeats of an idle shard, for each 100 shards
_TOGETHER = 100


class _Pace(msgspec.Struct):
    """The due time of a shard, by the clock of the heartbeats."""

    due: int = 0
    pause: int = TICK_US // 2
    number: int = 0  # number of events when the last heartbeat was written
    refused: int = 0  # labels by then


class Heartbeats:
    """Write the heartbeats of one writer. Use from the writer's event loop."""

    def __init__(self, writer: Appender, now: Callable[[], int]) -> None:
        """`now` gives microseconds since the Unix epoch."""
        self._writer = writer
        self._now = now
        self._paces: dict[str, _Pace] = {}
        self._refused: dict[str, int] = {}
        self._head = 0, ""  # head of the registry's history that was stated last
        self._unstated: tuple[int, str] | None = None

    def follow(self, revision: int, chain: str) -> None:
        """State the head of the history with the next tick, unless it was stated last."""
        self._unstated = None if (revision, chain) == self._head else (revision, chain)

    def refuse_labels(self, shard: str, labels: int) -> None:
        """Count labels that were refused, for the next heartbeat of the shard."""
        self._refused[shard] = self._refused.get(shard, 0) + labels

    def tick(self) -> int:
        """Write the heartbeats that are due; return how many. Raises LogUnavailable."""
        now = self._now()
        due = [shard for shard in self._shards() if self._is_due(shard, now)]
        pauses = {shard: self._next_pause(shard) for shard in due}
        self._write(now, pauses)
        for shard, pause in pauses.items():
            pace = self._paces[shard]
            pace.number, pace.refused = self._writer.next_number(shard), self._refused.get(shard, 0)
            pace.pause, pace.due = pause, now + pause
        return len(due)

    def end(self) -> None:
        """Log the end of this writer. Raises LogUnavailable."""
        self._write(self._now(), dict.fromkeys(self._shards(), 0))

    def _shards(self) -> list[str]:
        heads = [] if self._unstated is None else [NO_MODEL]
        return list(dict.fromkeys([*self._writer.shards(), *self._refused, *heads]))

    def _is_due(self, shard: str, now: int) -> bool:
        pace = self._paces.setdefault(shard, _Pace())
        set_back = pace.due > now + pace.pause  # the clock, beyond when it was made due
        changed = self._unstated is not None and shard == NO_MODEL
        return now >= pace.due or self._is_active(shard) or changed or set_back

    def _is_active(self, shard: str) -> bool:
        pace = self._paces[shard]
        return (self._writer.next_number(shard), self._refused.get(shard, 0)) != (
            pace.number,
            pace.refused,
        )

    def _next_pause(self, shard: str) -> int:
        if self._is_active(shard):
            return TICK_US
        longest = LONGEST_US * max(1, len(self._writer.shards()) // _TOGETHER)
        return min(2 * self._paces[shard].pause, longest)

    def _write(self, now: int, pauses: dict[str, int]) -> None:
        """Append a heartbeat for each shard, which promises the next one after its pause."""
        stamps = Stamps(self._writer)
        events = []
        for shard, pause in pauses.items():
            counts, stamp = self._writer.counts(shard), stamps.take(shard)
            revision, chain = (shard == NO_MODEL and self._unstated) or (0, "")
            events.append(
                HeartbeatEvent(
                    source=self._writer.source,
                    epoch=self._writer.epoch,
                    sequence=stamp.sequence,
                    time=now,
                    received=now,
                    shard=shard,
                    number=stamp.number,
                    predictions=counts.predictions,
                    labels=counts.labels,
                    refused_labels=self._refused.get(shard, 0),
                    next_us=pause + TICK_US if pause else 0,
                    revision=revision,
                    chain=chain,
                )
            )
        if events:
            self._writer.append(events)
        if self._unstated is not None and NO_MODEL in pauses:
            self._head, self._unstated = self._unstated, None
