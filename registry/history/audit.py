"""Verification of the history by its hash chain, an external head, and the event log.

The chain reveals an edited, removed or inserted row. But a person who can write to the database and
knows the format can compute a new chain over edited rows. An externally stored head reveals this.
The event log reveals it too, because workers log the head after every change. Rows after the last
external head and the last event are not protected.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from eventlog.events import HeartbeatEvent, PredictionEvent
from registry.errors import DamagedRow
from registry.history.rows import ALIAS_KINDS, FIRST, HistoryRow, RolloutStep, next_chain


class ChainHead(NamedTuple):
    """A revision, and the chain's hash at this revision."""

    revision: int
    chain: str


def chain_faults(
    rows: Iterable[HistoryRow], required_head: ChainHead | None = None
) -> Iterator[str]:
    """Yield the first difference of rows (oldest first) from their chain and an external head."""
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
        if (
            required_head is not None
            and required_head.revision == head.revision
            and required_head.chain != head.chain
        ):
            yield (
                f"revision {head.revision} or an earlier one was replaced: its chain is "
                f"{head.chain[:12]}..., expected {required_head.chain[:12]}..."
            )
            return
    if required_head is not None and required_head.revision > head.revision:
        yield (
            f"the tail is missing: the last revision is {head.revision}, "
            f"expected {required_head.revision}"
        )


class LoggedHeads:
    """Collect the heads that workers wrote into the log, and compare them with the history."""

    def __init__(self) -> None:
        self._events: dict[ChainHead, HeartbeatEvent] = {}  # the first event of each head

    def add(self, event: HeartbeatEvent) -> None:
        """Collect the head in an event, if it has one."""
        if event.revision > 0:
            self._events.setdefault(ChainHead(event.revision, event.chain), event)

    def __len__(self) -> int:
        return len(self._events)

    def fault(self, rows: Iterable[HistoryRow]) -> str:
        """Return the first difference of the history from the logged heads, or "" if none.

        The changed rows are between the last head that agrees and the first that does not.
        """
        chains = {row.revision: row.chain for row in rows}
        last, agreed = max(chains, default=0), 0
        for head, event in sorted(self._events.items()):
            by = f"event {event.event_id} of {_time(event.received)}"
            if head.revision > last:
                return (
                    f"rows from {last + 1} on are missing: {by} states revision "
                    f"{head.revision}, but the history ends at {last}: its tail was cut, or an "
                    "older copy was restored"
                )
            if chains.get(head.revision) != head.chain:
                first = "row" if agreed + 1 == head.revision else f"rows {agreed + 1} to"
                return (
                    f"{first} {head.revision} changed after {by}: it states the chain "
                    f"{head.chain[:12]}..., the history has "
                    f"{chains.get(head.revision, 'no such row')[:12]}...: rows were edited and "
                    "the chain was recomputed, or an older copy was restored and continued"
                )
            agreed = head.revision
        return ""


class EventCheck:
    """Compare prediction events with the history rows to which they refer."""

    def __init__(self, rows: Iterable[HistoryRow]) -> None:
        self._head = 0
        self._registered: dict[tuple[str, str], HistoryRow] = {}
        # (model, alias, number, id of the rollout or "") -> revision
        self._alias_revisions: dict[tuple[str, str, str, str], int] = {}
        for row in rows:
            self._head = row.revision
            if row.kind == "registered":
                self._registered.setdefault((row.model, row.number), row)
            if row.kind in ALIAS_KINDS:
                self._alias_revisions.setdefault(
                    (row.model, row.alias, row.number, ""), row.revision
                )
            if row.kind == "rollout_step":
                with suppress(DamagedRow):
                    rollout = row.decode(RolloutStep).rollout
                    self._alias_revisions.setdefault(
                        (row.model, row.alias, row.number, rollout), row.revision
                    )

    def fault(self, event: PredictionEvent) -> str:
        """Return the difference between an event and the history, or "" if there is none."""
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
            return f"{place}: this version is not registered in the history"
        if row.digest and event.digest and row.digest != event.digest:
            return (
                f"{place} was answered by digest {event.digest[:12]}..., but revision "
                f"{row.revision} registered {row.digest[:12]}..."
            )
        if event.alias:
            revisions = {
                self._alias_revisions.get(
                    (event.model, event.alias, event.version, rollout), self._head + 1
                )
                for rollout in ("", event.rollout)
            }
            if min(revisions) > event.revision:
                return f"{place}: no row up to revision {event.revision} points {event.alias} at it"
        return ""


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _describe(row: HistoryRow) -> str:
    words = [row.model, row.kind, row.alias, row.number and f"version {row.number}"]
    return f"{' '.join(word for word in words if word)} by {row.actor or 'unknown'}"
