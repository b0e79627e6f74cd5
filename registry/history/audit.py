"""Verification of the history: its chain, a head kept elsewhere, and what the event log names.

The chain finds an edited, removed or inserted row. A person who can write the database and knows
the format can compute a new chain over edited rows: a head kept elsewhere, or the event log,
finds that. Rows that came after the last kept head and the last event are protected by neither.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from eventlog.events import PredictionEvent
from registry.errors import DamagedRow
from registry.history.rows import ALIAS_KINDS, FIRST, HistoryRow, RolloutStep, next_chain


class ChainHead(NamedTuple):
    """A revision and the chain after it."""

    revision: int
    chain: str


def chain_faults(rows: Iterable[HistoryRow], kept: ChainHead | None = None) -> Iterator[str]:
    """Yield the first difference of rows, oldest first, from their chain and a head kept before."""
    head = ChainHead(0, FIRST)
    for row in rows:
        if row.revision != head.revision + 1:
            yield f"revision {head.revision + 1} is missing: revision {row.revision} follows"
            return
        if next_chain(head.chain, row) != row.chain:
            yield (
                f"revision {row.revision} was changed: {_describe(row)} does not agree with its "
                "chain"
            )
            return
        head = ChainHead(row.revision, row.chain)
        if kept is not None and kept.revision == head.revision and kept.chain != head.chain:
            yield (
                f"revision {head.revision} or an earlier one was replaced: its chain is "
                f"{head.chain[:12]}..., kept was {kept.chain[:12]}..."
            )
            return
    if kept is not None and kept.revision > head.revision:
        yield f"the tail is missing: the last revision is {head.revision}, kept was {kept.revision}"


class EventCheck:
    """Compare prediction events with the history that they name."""

    def __init__(self, rows: Iterable[HistoryRow]) -> None:
        self._head = 0
        self._registered: dict[tuple[str, str], HistoryRow] = {}
        # (model, alias, number, id of the rollout or "") -> revision
        self._named: dict[tuple[str, str, str, str], int] = {}
        for row in rows:
            self._head = row.revision
            if row.kind == "registered":
                self._registered.setdefault((row.model, row.number), row)
            if row.kind in ALIAS_KINDS:
                self._named.setdefault((row.model, row.alias, row.number, ""), row.revision)
            if row.kind == "rollout_step":
                with suppress(DamagedRow):
                    rollout = row.decode(RolloutStep).rollout
                    self._named.setdefault(
                        (row.model, row.alias, row.number, rollout), row.revision
                    )

    def fault(self, event: PredictionEvent) -> str:
        """Return what an event states otherwise than the history, "" if nothing."""
        if not event.version:
            return ""
        place = f"event {event.event_id} ({event.model} version {event.version})"
        if event.revision > self._head:
            return (
                f"{place} was answered at revision {event.revision}, but the history ends at "
                f"{self._head}: its tail was cut, or an older copy was restored"
            )
        row = self._registered.get((event.model, event.version))
        if row is None:
            return f"{place}: the history never registered this version"
        if row.digest and event.digest and row.digest != event.digest:
            return (
                f"{place} was answered by digest {event.digest[:12]}..., but revision "
                f"{row.revision} registered {row.digest[:12]}..."
            )
        if event.alias:
            found = {
                self._named.get((event.model, event.alias, event.version, rollout), self._head + 1)
                for rollout in ("", event.rollout)
            }
            if min(found) > event.revision:
                return f"{place}: no row up to revision {event.revision} points {event.alias} at it"
        return ""


def _describe(row: HistoryRow) -> str:
    words = [row.model, row.kind, row.alias, row.number and f"version {row.number}"]
    return f"{' '.join(word for word in words if word)} by {row.actor or 'unknown'}"
