"""Count the missing events of each shard of a source, and check the source's heartbeats. Pure.

A source's ledger counts its missing events. A source's chains count them for each shard (a group of
models). A chain stores only the number of events and the highest number in the newest epoch, so its
size does not depend on the disorder of the log.
"""

from collections.abc import Collection

import msgspec

from eventlog.events import HeartbeatEvent

PATIENCE = 60_000_000  # microseconds by which a heartbeat can be late


class Chain(msgspec.Struct, kw_only=True):
    """The received numbers of one shard of a source."""

    source: str
    shard: str
    epoch: int = 0
    next_number: int = 0  # highest number of the epoch, plus 1
    events: int = 0  # events of the epoch, without duplicates
    missing_before: int = 0  # missing events of earlier epochs
    # Reception time by which the source has promised its next heartbeat; 0 without a promise.
    promised: int = 0
    ended: bool = False  # whether the newest heartbeat announced the end of the source
    refused_labels: int = 0  # labels that the service refused in the epoch, from heartbeats

    @property
    def missing(self) -> int:
        """The number of missing events: lost, unreadable, or still in flight."""
        return self.missing_before + self.next_number - self.events

    def enter(self, epoch: int, number: int) -> None:
        """Record an event that is not a duplicate."""
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

    def record_heartbeat(self, beat: HeartbeatEvent) -> int:
        """Record a heartbeat; return the number of labels refused since the previous heartbeat."""
        if beat.epoch == self.epoch and beat.number + 1 == self.next_number:
            self.ended = not beat.next_us
            self.promised = beat.received + beat.next_us if beat.next_us else 0
        refused = beat.refused_labels - self.refused_labels
        if beat.epoch != self.epoch or refused <= 0:
            return 0
        self.refused_labels = beat.refused_labels
        return refused


def promise(chains: Collection[Chain]) -> int:
    """Return the time by which a source must write a heartbeat; 0 without a promise.

    `chains` are all chains of one source. The source is considered dead PATIENCE after that time.
    """
    epoch = max((chain.epoch for chain in chains), default=0)
    latest = [chain for chain in chains if chain.epoch == epoch]
    if any(chain.ended for chain in latest):
        return 0
    return min((chain.promised for chain in latest if chain.promised), default=0)
