"""The state of the consumer between its steps, loaded at the start and saved by every step.

It comprises ledgers, positions, counters and the state of every monitored version. It tracks its
own changes since the last `save`, so the parts of a step need not track them.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from eventlog.division import Division
from eventlog.errors import UnreadableEvent
from eventlog.events import Event, HeartbeatEvent, PredictionEvent
from eventlog.log import Position, Positions, Record
from eventlog.shards import shard_of
from monitoring.chains import Chain
from monitoring.counters.batch_days import BatchDay, day_of, include
from monitoring.ingest import ledger as source_ledger
from monitoring.ingest.late_events import LateEvents
from monitoring.ingest.traffic_state import TrafficState
from monitoring.ingest.version_state import VersionState
from monitoring.results import REFUSED_LABELS, SourceLedger, Window
from monitoring.source_ledgers import states_losses
from monitoring.storage import row_layout
from monitoring.storage.journal import Journal, LedgerKey
from monitoring.storage.predictions import Key
from monitoring.windows.deadlines import Deadlines
from monitoring.windows.policy_periods import PolicyTimeline, as_registered
from monitoring.windows.retention import Retention
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState
from registry.baselines import RecordedBaseline
from registry.errors import RegistryError
from registry.manifest import Version
from telemetry.clock import DAY

_logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A source's ledger before and after the entry of a new record."""

    before: SourceLedger | None  # None for the first record of a ledger
    after: SourceLedger


FindVersion = Callable[[str, str], Version]  # (model, number); raises RegistryError


class ConsumerState:
    """Positions, ledgers, counters and versions; `save` runs in the step's transaction."""

    def __init__(  # noqa: PLR0913
        self,
        journal: Journal,
        find_version: FindVersion,
        timeline: Callable[[Version], PolicyTimeline] = as_registered,
        retention: Retention | None = None,
        baselines: Callable[[Version], Sequence[RecordedBaseline]] = lambda _version: (),
        *,
        division: Division | None = None,
    ) -> None:
        """Resume from the journal.

        `timeline` returns a version's policy periods; `baselines` returns the baselines that the
        registry has recorded for it. `division` is the part of the log to ingest; losses are then
        detected by an event's number within its shard. If it is None, the whole log is ingested,
        and losses are detected by sequence numbers.
        """
        self.division = division
        self._baselines = baselines
        self.retention = retention or Retention()
        self._journal = journal
        self._find_version = find_version
        self._timeline = timeline
        self._positions: dict[str, Position] = journal.positions()
        self._ledgers: dict[LedgerKey, SourceLedger] = journal.ledgers()
        self._clocks: dict[str, int] = {}  # source: its newest reception
        for ledger in self._ledgers.values():
            self._raise_clock(ledger)
        self._incomplete = {key for key in self._ledgers if self._is_incomplete(key)}
        self._chains = {(chain.source, chain.shard): chain for chain in journal.chains()}
        self._latest = self._newest_reception()
        self.traffic = TrafficState(journal, self.owns)
        # Changes since the last save:
        self._changed_ledgers: set[LedgerKey] = set()
        self._counts: Counter[str] = Counter()
        self._changed_chains: dict[tuple[str, str], Chain] = {}  # key: source, shard
        self._ingested: Counter[tuple[str, int]] = Counter()  # key: source, minute of reception
        self._batches: dict[tuple[str, str, int], BatchDay] = {}  # key: model, version, day
        self._late = LateEvents()
        self._touched: dict[Key, VersionState] = {}
        self._versions: dict[Key, VersionState] = {}
        # Versions with events since the consumer last reached the end of the log:
        self._undrained: dict[Key, VersionState] = {}
        self._by_model: dict[str, list[VersionState]] = {}
        self._order: dict[Key, int] = {}  # numbers versions in the order of addition
        self._deadlines: Deadlines[Key] = Deadlines()
        self._stale: dict[Key, VersionState] = {}  # versions whose deadlines may have changed
        self._saved_progress: dict[Key, bytes] = {}  # progress as last saved
        for key, progress in journal.version_progress().items():
            try:
                version = find_version(*key)
                periods = timeline(version)
            except RegistryError as error:
                # The version's rows stay in the database. Other versions are still monitored.
                _logger.warning("no longer monitored: %s", error)
                continue
            self._add(version, periods, progress, journal.windows(key))

    def owns(self, model: str) -> bool:
        """Return whether the events of a model are in this part of the log."""
        return self.division is None or self.division.owns(shard_of(model))

    # Positions and ledgers

    @property
    def positions(self) -> Positions:
        """The ingested position of each stream."""
        return self._positions

    @property
    def latest(self) -> int:
        """The newest credible reception of any source, in microseconds."""
        return self._latest

    def clock(self, source: str) -> int:
        """Return the newest credible reception of a source, in microseconds."""
        return self._clocks.get(source) or self._latest

    def advance(self, stream: str, after: Position) -> None:
        """Record the position of a stream; an earlier position is ignored."""
        before = self._positions.get(stream)
        if before is None or before < after:
            self._positions[stream] = after

    def skip_to(self, stream: str, after: Position) -> None:
        """Continue a stream at `after`, behind a gap."""
        self._positions[stream] = after
        key = stream, ""
        if key in self._ledgers:  # the stream is a source of the local log
            cuts = self._ledgers[key].cuts + 1
            self._set_ledger(key, replace(self._ledgers[key], cuts=cuts))

    def enter(self, record: Record, *, readable: bool, received: int) -> "Entry | None":
        """Enter a record into its source's ledger; return None if it was ingested before."""
        key, place = self._place(record)
        ledger, event = self._ledgers.get(key), record.event
        if ledger is None:
            before = SourceLedger(source=record.source, epoch=0, next_sequence=0)
        else:
            before = ledger
        after, is_new = source_ledger.enter(
            before,
            place,
            readable=readable,
            beat=isinstance(event, HeartbeatEvent),
            received=received,
        )
        self._set_ledger(key, after)
        self.advance(record.stream, record.after)
        if after.received > self._clocks.get(record.source, 0):
            self._clocks[record.source] = after.received
            self._latest = max(self._latest, after.received)
        elif after.received < before.received:  # the source's clock was ahead and is corrected
            self._lower_clock(record.source)
        if not is_new:
            return None
        if event.shard:
            self._enter_chain(record, event)
            if self.division is not None and not key[1]:
                self._skip_in_shard(record, event)
        return Entry(ledger, after)

    def _place(self, record: Record) -> tuple[LedgerKey, Position]:
        """Return the key of a record's ledger, and the record's position in this ledger.

        If the log is divided, the position is the event's number within its shard. An event that
        was ingested before the division is recognized by its sequence number. Events of format
        version 1 have no number: a stream's events arrive in order, and gaps are no losses.
        """
        by_sequence = Position(record.epoch, record.sequence)
        source_key = record.source, ""
        if self.division is None:
            return source_key, by_sequence
        event = record.event
        undivided = self._ledgers.get(source_key)
        if undivided is not None and by_sequence < undivided.top:
            return source_key, by_sequence
        if event.shard:
            return (record.source, event.shard), Position(record.epoch, event.number)
        return (record.source, record.stream), by_sequence

    def _skip_in_shard(self, record: Record, event: Event | UnreadableEvent) -> None:
        """Move a shard's ledger past an event that the undivided log's ledger has counted."""
        key = record.source, event.shard
        empty = SourceLedger(source=record.source, epoch=0, next_sequence=0)
        ledger = self._ledgers.get(key, empty)
        place = Position(record.epoch, event.number)
        self._set_ledger(key, source_ledger.skip_to(ledger, place))

    def _set_ledger(self, key: LedgerKey, ledger: SourceLedger) -> None:
        self._ledgers[key] = ledger
        self._changed_ledgers.add(key)
        if ledger.holes:
            (self._incomplete.add if self._is_incomplete(key) else self._incomplete.discard)(key)
        elif key in self._incomplete:
            self._incomplete.discard(key)

    def _is_incomplete(self, key: LedgerKey) -> bool:
        """Return whether a ledger has missing numbers that may still arrive."""
        if not states_losses(key[1], divided=self.division is not None):
            return False
        return any(not hole.lost for hole in self._ledgers[key].holes)

    def _raise_clock(self, ledger: SourceLedger) -> None:
        self._clocks[ledger.source] = max(ledger.received, self._clocks.get(ledger.source, 0))

    def _lower_clock(self, source: str) -> None:
        receptions = (
            ledger.received for ledger in self._ledgers.values() if ledger.source == source
        )
        self._clocks[source] = max(receptions, default=0)
        self._latest = self._newest_reception()

    def _enter_chain(self, record: Record, event: Event | UnreadableEvent) -> None:
        place = record.source, event.shard
        chain = self._chains.get(place)
        if chain is None:
            chain = self._chains[place] = Chain(source=record.source, shard=event.shard)
        chain.enter(record.epoch, event.number)
        if isinstance(event, HeartbeatEvent) and (refused := chain.record_heartbeat(event)):
            self.count(REFUSED_LABELS, refused)
        self._changed_chains[place] = chain

    def _newest_reception(self) -> int:
        return max(self._clocks.values(), default=0)

    def incomplete_ledgers(self) -> dict[LedgerKey, SourceLedger]:
        """Return the ledgers with missing numbers that may still arrive, in order."""
        return {key: self._ledgers[key] for key in sorted(self._incomplete)}

    def give_up(self, key: LedgerKey, before: Position) -> None:
        """Count a ledger's missing numbers below a position as lost."""
        self._set_ledger(key, source_ledger.give_up(self._ledgers[key], before))

    @property
    def ledgers(self) -> Mapping[LedgerKey, SourceLedger]:
        """The ledger of each source, or of each shard of a source."""
        return self._ledgers

    def sources(self) -> Collection[str]:
        """Return every source from which an event was received."""
        return self._clocks.keys()

    # Counters

    def count(self, name: str, more: int = 1) -> None:
        """Add `more` to the total `name`."""
        self._counts[name] += more

    def count_batch(self, event: PredictionEvent) -> None:
        """Count the rows of a batch job's event by version and day."""
        key = event.model, event.version, day_of(event)
        self._batches[key] = include(self._batches.get(key, BatchDay()), event)

    def count_ingested(self, source: str, minute: int) -> None:
        """Count an event by its source and the minute of its reception."""
        self._ingested[source, minute] += 1

    def drop_minutes(self, until: int) -> None:
        """Drop unsaved counts of minutes before `until`."""
        for source, minute in list(self._ingested):
            if minute < until:
                del self._ingested[source, minute]

    def count_late(self, version: VersionState, start: int, rows: int) -> None:
        """Count a late event with `rows` rows, whose pane begins at `start`."""
        self.count("late_events")
        self.count("late_rows", rows)
        self._late.count(version.key, start, rows)

    # Versions

    def version(self, model: str, number: str) -> VersionState:
        """Return a version's state, and start to monitor a new version; raises RegistryError."""
        state = self._versions.get((model, number))
        if state is not None:
            self.touch(state)
            return state
        version = self._find_version(model, number)
        progress = VersionProgress(model, number, columns=row_layout.columns(version.manifest))
        return self._add(version, self._timeline(version), progress, {})

    def touch(self, version: VersionState) -> None:
        """Mark a version as possibly changed; a step skips the versions without this mark."""
        self._touched[version.key] = version
        self._undrained[version.key] = version
        self._stale[version.key] = version

    def touched(self) -> list[VersionState]:
        """Return the versions that may have changed since the last save."""
        return list(self._touched.values())

    def pop_undrained(self) -> list[VersionState]:
        """Return the versions that may have changed since the last call of this method."""
        undrained, self._undrained = list(self._undrained.values()), {}
        return undrained

    def versions(self) -> list[VersionState]:
        """Return every monitored version."""
        return list(self._versions.values())

    def pop_idle_versions(self) -> list[VersionState]:
        """Return the versions without traffic whose windows may be due to close or expire."""
        for key, version in self._stale.items():
            self._deadlines.set(key, version.idle_deadline)
        keys = sorted(self._deadlines.pop_due(self._latest), key=self._order.__getitem__)
        due = {key: self._versions[key] for key in keys}
        self._stale = dict(due)  # check them again: another source can still delay the watermark
        return list(due.values())

    def versions_of(self, model: str) -> Sequence[VersionState]:
        """Return the monitored versions of a model."""
        return self._by_model.get(model, ())

    def ended_versions(self, version: VersionState, window: Window) -> list[str]:
        """Return the model's versions without an event since a window's length before `window`."""
        before = window.start - (window.end - window.start)
        others = self._by_model[version.version.model]
        return [other.version.number for other in others if other.newest < before]

    def rows_until(self, model: str, number: str) -> int:
        """Return the event time before which the rows of a version have expired."""
        version = self._versions.get((model, number))
        return 0 if version is None else version.rows_until

    def update_policies(self, models: Collection[str]) -> None:
        """Read the policy periods and baselines of these models' versions from the registry."""
        for model in models:
            self.traffic.wake(model)
        for (model, number), state in self._versions.items():
            if model not in models:
                continue
            if state.learns:
                state.set_recorded_baselines(self._baselines(state.version))
            timeline = self._timeline(state.version)
            if not state.set_timeline(timeline):
                continue
            self.touch(state)
            period = timeline.periods[-1]
            _logger.info("%s version %s is monitored by policy %s", model, number, period.digest)
            if state.has_windows_since(period.start):
                # Event times are ahead of the registry's clock, or this clock is wrong.
                _logger.warning(
                    "%s version %s: windows had begun before the policy was known; a replay may "
                    "give other results",
                    model,
                    number,
                )

    def idle_watermark(self, version: VersionState) -> int:
        """Return the watermark of a version without traffic."""
        clocks = self._clocks
        received = {source: clocks[source] for source in version.sources if source in clocks}
        return version.idle_watermark(received, self._latest)

    # Saving

    def save(self) -> None:
        """Write the changes since the last call, in the step's transaction."""
        changed = [(key, self._ledgers[key]) for key in sorted(self._changed_ledgers)]
        self._journal.save_progress(self._positions, changed)
        self._changed_ledgers.clear()
        self._journal.save_chains(self._changed_chains.values())
        self._changed_chains.clear()
        self._save_version_progress()
        self._save_windows()
        self._touched = {}
        self.traffic.save()
        for name, more in sorted(self._counts.items()):
            self._journal.count(name, more)
        self._counts.clear()
        self._journal.count_ingested(self._ingested)
        self._ingested.clear()
        self._journal.count_batches(self._batches, int(self.retention.results_days * DAY))
        self._batches.clear()
        self._late.save(self._journal)

    def _add(
        self,
        version: Version,
        timeline: PolicyTimeline,
        progress: VersionProgress,
        windows: dict[int, WindowState],
    ) -> VersionState:
        key = version.model, version.number
        hashes = partial(self._journal.sampled_hashes, (progress.model, progress.version))
        state = VersionState(version, timeline, progress, windows, hashes)
        if state.learns:
            state.set_recorded_baselines(self._baselines(version))
        self._versions[key] = state
        self._order[key] = len(self._order)
        self.touch(state)
        self._by_model.setdefault(version.model, []).append(state)
        return state

    def _save_version_progress(self) -> None:
        """Write the progress of the versions whose progress has changed."""
        changed = []
        for key, state in self._touched.items():
            body = state.encoded_progress()
            if body != self._saved_progress.get(key):
                self._saved_progress[key] = body
                changed.append((*key, body))
        self._journal.save_version_progress(changed)

    def _save_windows(self) -> None:
        saved: list[tuple[Key, WindowState]] = []
        deleted: list[tuple[str, str, int]] = []
        for key, state in self._touched.items():
            changes = state.pop_changes()
            saved += [(key, window) for window in changes.saved]
            deleted += [(*key, start) for start in changes.deleted]
        self._journal.delete_windows(deleted)
        self._journal.save_windows(saved)
