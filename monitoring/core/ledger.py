"""Everything that decides whether the log is complete lives here.

Within one epoch of a source, sequences come without gaps from 0. A sequence that was passed over is
lost; one that comes again is a duplicate and must not be counted twice.
"""

from msgspec.structs import replace

from eventlog.log import Record
from monitoring.core.results import SourceLedger


def enter(ledger: SourceLedger, record: Record, *, readable: bool) -> tuple[SourceLedger, bool]:
    """The ledger after the record, and whether the record is new."""
    expected = ledger.next_sequence if record.epoch == ledger.epoch else 0
    if (record.epoch, record.sequence) < (ledger.epoch, expected):
        return replace(ledger, duplicated=ledger.duplicated + 1), False
    after = replace(
        ledger,
        epoch=record.epoch,
        next_sequence=record.sequence + 1,
        events=ledger.events + 1,
        lost=ledger.lost + record.sequence - expected,
        unreadable=ledger.unreadable + (not readable),
    )
    return after, True
