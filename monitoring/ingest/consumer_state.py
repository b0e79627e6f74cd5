"""What the consumer knows between its steps: loaded once, saved with every step.

Ledgers, positions, counters and the state of every monitored version. What a step changed is noted
here and written by `save`, so the parts of the loop never track it themselves.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from eventlog.errors import UnreadableEvent
from eventlog.events import Event, HeartbeatEvent
from eventlog.log import Position, Positions, Record
from monitoring.chains import Chain
from monitoring.ingest import ledger as source_ledger
from monitoring.ingest.version_state import VersionState
from monitoring.results import REFUSED_LABELS, LateCounts, SourceLedger, Window
from monitoring.storage import row_layout
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.windows.policy_periods import PolicyTimeline, as_registered
from monitoring.windows.retention import Retention
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState
from registry.baselines import RecordedBaseline
from registry.errors import RegistryError
from registry.manifest import Version

_logger = logging.getLogger(__name__)

FindVersion = Callable[[str, str], Version]  # (model, number); raises RegistryError


class ConsumerState:
    """Positions, ledgers, counters and versions; `save` is part of the step's transaction."""

    def __init__(
        self,
        journal: Journal,
        find_version: FindVersion,
        timeline: Callable[[Version], PolicyTimeline] = as_registered,
        retention: Retention | None = None,
        baselines: Callable[[Version], Sequence[RecordedBaseline]] = lambda _version: (),
    ) -> None:
        """Resume from the journal; `timeline` returns the policy periods of a version.

        `baselines` returns those that the registry has recorded for a version.
        """
        self._baselines = baselines
        self.retention = retention or Retention()
        self._journal = journal
        self._find_version = find_version
        self._timeline = timeline
        self._positions: dict[str, Position] = journal.positions()
        self._ledgers: dict[str, SourceLedger] = journal.ledgers()
        self._chains = {(one.source, one.shard): one for one in journal.chains()}
        self._latest = self._newest_reception()
        # Since the last save:
        self._counts: Counter[str] = Counter()
        self._changed_chains: dict[tuple[str, str], Chain] = {}
        self._ingested: Counter[tuple[str, int]] = Counter()  # by source and minute of reception
        self._late: dict[tuple[str, str, int], LateCounts] = {}  # by version and start of the pane
        self._versions: dict[Key, VersionState] = {}
        self._of_model: dict[str, list[VersionState]] = {}
        self._saved_progress: dict[Key, bytes] = {}
        for key, progress in journal.version_progress().items():
            try:
                version = find_version(*key)
                periods = timeline(version)
            except RegistryError as error:
                # Its rows stay in the database; the other versions are monitored all the same.
                _logger.warning("no longer monitored: %s", error)
                continue
            self._add(version, periods, progress, journal.windows(key))

    # Positions and ledgers

    @property
    def positions(self) -> Positions:
        """How far each stream has been ingested."""
        return self._positions

    @property
    def latest(self) -> int:
        """The newest reception of all sources by clocks that are believed, in microseconds."""
        return self._latest

    def clock(self, source: str) -> int:
        """Return the reception that the clock of a source has reached."""
        ledger = self._ledgers.get(source)
        return (ledger and ledger.received) or self._latest

    def advance(self, stream: str, after: Position) -> None:
        """Record how far a stream has been ingested; a repeated record moves nothing back."""
        before = self._positions.get(stream)
        if before is None or before < after:
            self._positions[stream] = after

    def skip_to(self, stream: str, after: Position) -> None:
        """Continue a stream here, wherever it was: what lay before is gone."""
        self._positions[stream] = after
        if stream in self._ledgers:  # a source of the local log
            self._ledgers[stream] = replace(
                self._ledgers[stream], cuts=self._ledgers[stream].cuts + 1
            )

    def enter(self, record: Record, *, readable: bool, received: int) -> bool:
        """Enter a record into the ledger of its source; False: it was ingested before."""
        before = self._ledgers.get(record.source)
        ledger = before or SourceLedger(source=record.source, epoch=0, next_sequence=0)
        after, fresh = source_ledger.enter(ledger, record, readable=readable, received=received)
        self._ledgers[record.source] = after
        self.advance(record.stream, record.after)
        if after.received > self._latest:
            self._latest = after.received
        elif after.received < ledger.received:  # its clock was ahead
            self._latest = self._newest_reception()
        event = record.event
        if fresh and event.shard:
            self._enter_chain(record, event)
        return fresh

    def _enter_chain(self, record: Record, event: Event | UnreadableEvent) -> None:
        place = record.source, event.shard
        chain = self._chains.get(place)
        if chain is None:
            chain = self._chains[place] = Chain(source=record.source, shard=event.shard)
        chain.enter(record.epoch, event.number)
        if isinstance(event, HeartbeatEvent) and (more := chain.hear(event)):
            self.count(REFUSED_LABELS, more)
        self._changed_chains[place] = chain

    def _newest_reception(self) -> int:
        return max((ledger.received for ledger in self._ledgers.values()), default=0)

    def incomplete_ledgers(self) -> list[SourceLedger]:
        """Return the ledgers of sources with numbers that may still arrive."""
        ledgers = self._ledgers.values()
        return [one for one in ledgers if any(not hole.lost for hole in one.holes)]

    def give_up(self, source: str, before: Position) -> None:
        """Count what a source is missing below a position as lost."""
        self._ledgers[source] = source_ledger.give_up(self._ledgers[source], before)

    @property
    def ledgers(self) -> Mapping[str, SourceLedger]:
        """What was seen of each source."""
        return self._ledgers

    # Counters

    def count(self, name: str, more: int = 1) -> None:
        """Add to a named total."""
        self._counts[name] += more

    def count_ingested(self, source: str, minute: int) -> None:
        """Count an event by its source and the minute of its reception."""
        self._ingested[source, minute] += 1

    def drop_minutes(self, until: int) -> None:
        """Drop the counts of minutes before this one that are not saved yet."""
        for source, minute in list(self._ingested):
            if minute < until:
                del self._ingested[source, minute]

    def count_late(self, version: VersionState, start: int, rows: int) -> None:
        """Count an event that came too late for the pane that begins at `start`."""
        self.count("late_events")
        self.count("late_rows", rows)
        before = self._late.get((*version.key, start), LateCounts())
        self._late[*version.key, start] = LateCounts(before.events + 1, before.rows + rows)

    # Versions

    def version(self, model: str, number: str) -> VersionState:
        """Return a version, monitored from now on if it was not; raises RegistryError."""
        known = self._versions.get((model, number))
        if known is not None:
            return known
        version = self._find_version(model, number)
        progress = VersionProgress(model, number, columns=row_layout.columns(version.manifest))
        return self._add(version, self._timeline(version), progress, {})

    def versions(self) -> list[VersionState]:
        """Return every monitored version."""
        return list(self._versions.values())

    def ended_versions(self, version: VersionState, window: Window) -> list[str]:
        """Return the other versions of the model whose last event is a whole window older."""
        before = window.start - (window.end - window.start)
        others = self._of_model[version.version.model]
        return [other.version.number for other in others if other.newest < before]

    def rows_until(self, model: str, number: str) -> int:
        """Return the event time before which the rows of a version have expired."""
        known = self._versions.get((model, number))
        return 0 if known is None else known.rows_until

    def update_policies(self, models: Collection[str]) -> None:
        """Read the policy periods of these models' versions again."""
        for (model, number), state in self._versions.items():
            if model not in models:
                continue
            if state.learns:
                state.follow_baselines(self._baselines(state.version))
            timeline = self._timeline(state.version)
            if not state.follow(timeline):
                continue
            period = timeline.periods[-1]
            _logger.info("%s version %s is monitored by policy %s", model, number, period.digest)
            if state.has_windows_since(period.start):
                # Events are stamped ahead of the registry's clock, or that clock is wrong.
                _logger.warning("windows had begun before it was known; a replay may differ")

    def idle_watermark(self, version: VersionState) -> int:
        """Return the watermark of a version without traffic."""
        ledgers = {source: self._ledgers.get(source) for source in version.sources}
        received = {source: ledger.received for source, ledger in ledgers.items() if ledger}
        return version.idle_watermark(received, self._latest)

    # Saving

    def save(self) -> None:
        """Write what changed; part of the step's transaction."""
        self._journal.save_progress(self._positions, self._ledgers.values())
        self._journal.save_chains(self._changed_chains.values())
        self._changed_chains.clear()
        self._save_version_progress()
        self._save_windows()
        for name, more in sorted(self._counts.items()):
            self._journal.count(name, more)
        self._counts.clear()
        self._journal.count_ingested(self._ingested)
        self._ingested.clear()
        self._journal.count_late(self._late)
        self._late.clear()

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
            state.follow_baselines(self._baselines(version))
        self._versions[key] = state
        self._of_model.setdefault(version.model, []).append(state)
        return state

    def _save_version_progress(self) -> None:
        """Write the versions that changed: of a thousand, most are idle in any one step."""
        changed = []
        for key, state in self._versions.items():
            body = state.encoded_progress()
            if body != self._saved_progress.get(key):
                self._saved_progress[key] = body
                changed.append((*key, body))
        self._journal.save_version_progress(changed)

    def _save_windows(self) -> None:
        saved: list[tuple[Key, WindowState]] = []
        deleted: list[tuple[str, str, int]] = []
        for key, state in self._versions.items():
            changes = state.pop_changes()
            saved += [(key, window) for window in changes.saved]
            deleted += [(*key, start) for start in changes.deleted]
        self._journal.delete_windows(deleted)
        self._journal.save_windows(saved)
