"""Sum each source's ledgers over its shards; partitions store a ledger for each shard. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from eventlog.shards import SHARD_DIGITS
from monitoring.results import SourceLedger

UNDIVIDED = -1  # partition number of ledgers from before the log was divided


def states_losses(shard: str, *, divided: bool) -> bool:
    """Return whether a ledger's numbers have no gaps, so that a missing number means a loss.

    In a divided log, these are the ledgers of shards, because a source's sequence numbers are
    spread over the partitions. `shard` is the key of the ledger, empty for the whole source.
    """
    return len(shard) == SHARD_DIGITS if divided else not shard


def summed(ledgers: Iterable[tuple[int, str, SourceLedger]]) -> list[SourceLedger]:
    """Return one ledger for each source, by name, from (partition, shard, ledger) entries."""
    by_source: dict[str, list[tuple[int, str, SourceLedger]]] = {}
    for entry in ledgers:
        by_source.setdefault(entry[2].source, []).append(entry)
    return [_sum(entries) for _, entries in sorted(by_source.items())]


def _sum(entries: list[tuple[int, str, SourceLedger]]) -> SourceLedger:
    if len(entries) == 1 and not entries[0][1]:
        return entries[0][2]
    total = SourceLedger(source=entries[0][2].source, epoch=0, next_sequence=0, divided=True)
    for _, shard, ledger in entries:
        # Ledgers of whole sources have losses from before the division, which can still decrease.
        has_losses = states_losses(shard, divided=True) or not shard
        total = replace(
            total,
            epoch=max(total.epoch, ledger.epoch),
            received=max(total.received, ledger.received),
            events=total.events + ledger.events,
            heartbeats=total.heartbeats + ledger.heartbeats,
            duplicated=total.duplicated + ledger.duplicated,
            unreadable=total.unreadable + ledger.unreadable,
            cuts=total.cuts + ledger.cuts,
            lost=total.lost + (ledger.lost if has_losses else 0),
            recovered=total.recovered + (ledger.recovered if has_losses else 0),
            holes=total.holes + (ledger.holes if states_losses(shard, divided=True) else []),
        )
    return total
