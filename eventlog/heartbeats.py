"""Log heartbeats: a writer's number of events per shard, every few seconds and when it stops.

A shard with new events gets a heartbeat at the next tick. An idle shard gets heartbeats at growing
intervals, so all idle shards together add at most about 100 heartbeats per minute to the log. Each
heartbeat states when the next heartbeat is due. If it is missing then, a reader knows that the
writer was killed.

After each change of the registry, a worker also logs the head of the registry's history. An edit of
the history is therefore noticed, unless every log with the head is edited too.
"""

from collections.abc import Callable

import msgspec

from eventlog.events import HeartbeatEvent
from eventlog.log import Appender
from eventlog.shards import NO_MODEL
from eventlog.stamps import Stamps

TICK_US = 5_000_000  # microseconds between ticks
LONGEST_US = 60_000_000  # longest interval of an idle shard, multiplied by the hundreds of shards
_SHARDS_PER_LONGEST = 100


class _Pace(msgspec.Struct):
    """The schedule of one shard's heartbeats."""

    due: int = 0  # time of the next heartbeat, in microseconds since the Unix epoch
    pause: int = TICK_US // 2  # microseconds between the last heartbeat and the next
    number: int = 0  # number of events at the last heartbeat
    refused: int = 0  # number of refused labels at the last heartbeat


class Heartbeats:
    """Write the heartbeats of one writer. Use from the writer's event loop."""

    def __init__(self, writer: Appender, now: Callable[[], int]) -> None:
        """`now` returns microseconds since the Unix epoch."""
        self._writer = writer
        self._now = now
        self._paces: dict[str, _Pace] = {}
        self._refused: dict[str, int] = {}
        self._head = 0, ""  # head of the registry's history that was logged last
        self._unlogged: tuple[int, str] | None = None  # head that the next tick logs

    def follow(self, revision: int, chain: str) -> None:
        """Log the head of the registry's history at the next tick, unless it was logged last."""
        self._unlogged = None if (revision, chain) == self._head else (revision, chain)

    def refuse_labels(self, shard: str, labels: int) -> None:
        """Add refused labels to the count in the shard's next heartbeat."""
        self._refused[shard] = self._refused.get(shard, 0) + labels

    def tick(self) -> int:
        """Write the heartbeats that are due; return their number. Raises LogUnavailable."""
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
        """Write the last heartbeat of every shard, when the writer stops. Raises LogUnavailable."""
        self._write(self._now(), dict.fromkeys(self._shards(), 0))

    def _shards(self) -> list[str]:
        heads = [] if self._unlogged is None else [NO_MODEL]
        return list(dict.fromkeys([*self._writer.shards(), *self._refused, *heads]))

    def _is_due(self, shard: str, now: int) -> bool:
        pace = self._paces.setdefault(shard, _Pace())
        set_back = pace.due > now + pace.pause  # whether the clock was set back
        changed = self._unlogged is not None and shard == NO_MODEL
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
        longest = LONGEST_US * max(1, len(self._writer.shards()) // _SHARDS_PER_LONGEST)
        return min(2 * self._paces[shard].pause, longest)

    def _write(self, now: int, pauses: dict[str, int]) -> None:
        """Append a heartbeat for each shard; `pauses` are the times until the next heartbeats."""
        stamps = Stamps(self._writer)
        events = []
        for shard, pause in pauses.items():
            counts, stamp = self._writer.counts(shard), stamps.take(shard)
            revision, chain = (shard == NO_MODEL and self._unlogged) or (0, "")
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
        if self._unlogged is not None and NO_MODEL in pauses:
            self._head, self._unlogged = self._unlogged, None
