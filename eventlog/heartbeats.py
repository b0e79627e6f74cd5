"""State what a writer has logged of each shard, every few seconds and when it ends.

A shard with new events has a heartbeat at the next tick. One without has them at growing intervals:
idle shards cost the log about 100 heartbeats a minute at most, however many they are. Each
heartbeat states when the next one comes at the latest; a reader that misses it knows that the
writer died.
"""

from collections.abc import Callable

import msgspec

from eventlog.events import HeartbeatEvent
from eventlog.log import Appender
from eventlog.stamps import Stamps

TICK_US = 5_000_000  # between two ticks
LONGEST_US = 60_000_000  # between two heartbeats of an idle shard, for each 100 shards
_TOGETHER = 100


class _Pace(msgspec.Struct):
    """When a shard is due, by the clock of the heartbeats."""

    due: int = 0
    pause: int = TICK_US // 2
    number: int = 0  # of events when the last heartbeat was written
    refused: int = 0  # labels by then


class Heartbeats:
    """Write the heartbeats of one writer. Use from the writer's event loop."""

    def __init__(self, writer: Appender, now: Callable[[], int]) -> None:
        """`now` gives microseconds since the Unix epoch."""
        self._writer = writer
        self._now = now
        self._paces: dict[str, _Pace] = {}
        self._refused: dict[str, int] = {}

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
        """State that nothing follows. Raises LogUnavailable."""
        self._write(self._now(), dict.fromkeys(self._shards(), 0))

    def _shards(self) -> list[str]:
        return list(dict.fromkeys([*self._writer.shards(), *self._refused]))

    def _is_due(self, shard: str, now: int) -> bool:
        pace = self._paces.setdefault(shard, _Pace())
        set_back = pace.due > now + pace.pause  # the clock, beyond when it was made due
        return now >= pace.due or self._is_active(shard) or set_back

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
                )
            )
        if events:
            self._writer.append(events)
