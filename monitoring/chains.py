"""Check the numbers of each shard of a source: how many are missing, and whether it is alive. Pure.

The ledger of a source states how many of its events are missing; its chains state in which shards.
A chain counts the events of its newest epoch beside their highest number, so its memory does not
grow with the disorder of the log.
"""

from collections.abc import Collection

import msgspec

from eventlog.events import HeartbeatEvent

PATIENCE = 60_000_000  # microseconds for which a heartbeat may be late


class Chain(msgspec.Struct, kw_only=True):
    """The received numbers of one shard of a source."""

    source: str
    shard: str
    epoch: int = 0
    next_number: int = 0  # one past the highest one of the epoch
    events: int = 0  # events of the epoch, each once
    missing_before: int = 0  # missing events of earlier epochs
    # Reception until which the next heartbeat is promised; 0: none was seen, or the writer ended.
    promised: int = 0
    ended: bool = False  # whether the newest heartbeat was the last one
    refused_labels: int = 0  # refused labels of the epoch, as heartbeats state them

    @property
    def missing(self) -> int:
        """Numbers that were not seen: lost, unreadable, or on their way."""
        return self.missing_before + self.next_number - self.events

    def enter(self, epoch: int, number: int) -> None:
        """Record an event that was not seen before."""
        if epoch > self.epoch:
            self.missing_before = self.missing
            self.epoch, self.next_number, self.events = epoch, number + 1, 1
            self.promised, self.ended, self.refused_labels = 0, False, 0
        elif epoch == self.epoch:
            self.ended &= number < self.next_number
            self.next_number = max(self.next_number, number + 1)
            self.events += 1
        else:
            self.missing_before = max(0, self.missing_before - 1)

    def hear(self, beat: HeartbeatEvent) -> int:
        """Record a heartbeat's counts; return the number of newly refused labels."""
        if beat.epoch == self.epoch and beat.number + 1 == self.next_number:
            self.ended = not beat.next_us
            self.promised = beat.received + beat.next_us if beat.next_us else 0
        more = beat.refused_labels - self.refused_labels
        if beat.epoch != self.epoch or more <= 0:
            return 0
        self.refused_labels = beat.refused_labels
        return more


def promise(chains: Collection[Chain]) -> int:
    """Return when a source must have written a heartbeat; 0 if it has ended or promised none.

    `chains` are all of one source. PATIENCE after that time, the promise is broken.
    """
    epoch = max((chain.epoch for chain in chains), default=0)
    latest = [chain for chain in chains if chain.epoch == epoch]
    if any(chain.ended for chain in latest):
        return 0
    return min((chain.promised for chain in latest if chain.promised), default=0)
