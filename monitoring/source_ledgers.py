"""Sum the ledgers of the shards of each source, as the partitions of a log keep them. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from eventlog.shards import SHARD_DIGITS
from monitoring.results import SourceLedger

UNDIVIDED = -1  # partition of what was counted before the log was divided


def states_losses(shard: str, *, divided: bool) -> bool:
    """Return whether the numbers of a ledger have no gaps, so that a missing one is lost.

    In a divided log, these are the ledgers of shards; sequences of a source are all over it.
    """
    return len(shard) == SHARD_DIGITS if divided else not shard


def summed(ledgers: Iterable[tuple[int, str, SourceLedger]]) -> list[SourceLedger]:
    """Return one ledger for each source, by name, of ledgers with their partition and shard."""
    by_source: dict[str, list[tuple[int, str, SourceLedger]]] = {}
    for entry in ledgers:
        by_source.setdefault(entry[2].source, []).append(entry)
    return [_sum(entries) for _, entries in sorted(by_source.items())]


def _sum(entries: list[tuple[int, str, SourceLedger]]) -> SourceLedger:
    if len(entries) == 1 and not entries[0][1]:
        return entries[0][2]
    total = SourceLedger(source=entries[0][2].source, epoch=0, next_sequence=0, divided=True)
    for _, shard, ledger in entries:
        # What was undivided may still come, which takes it back from the lost ones.
        counts = states_losses(shard, divided=True) or not shard
        total = replace(
            total,
            epoch=max(total.epoch, ledger.epoch),
            received=max(total.received, ledger.received),
            events=total.events + ledger.events,
            heartbeats=total.heartbeats + ledger.heartbeats,
            duplicated=total.duplicated + ledger.duplicated,
            unreadable=total.unreadable + ledger.unreadable,
            cuts=total.cuts + ledger.cuts,
            lost=total.lost + (ledger.lost if counts else 0),
            recovered=total.recovered + (ledger.recovered if counts else 0),
            holes=total.holes + (ledger.holes if states_losses(shard, divided=True) else []),
        )
    return total
