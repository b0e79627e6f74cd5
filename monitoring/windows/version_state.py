"""The model versions under watch, as the consumer holds them between transactions."""

import logging
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush

from eventlog.log import Position
from monitoring.counters.reference_domain import category
from monitoring.counters.row_counters import RowCounters
from monitoring.results import LateCounts, SourceLedger, Window
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.windows.grid import END_OF_TIME, SECOND, CountedSpan
from monitoring.windows.policy_periods import PolicyPeriod, PolicyTimeline, as_registered
from monitoring.windows.retention import Retention
from monitoring.windows.row_sample import RowSample
from monitoring.windows.window_state import IDLE, VersionProgress, WindowState, silence
from registry.errors import RegistryError
from registry.manifest import Version

_logger = logging.getLogger(__name__)

FindVersion = Callable[[str, str], Version]  # (model, number); raises RegistryError


class VersionState:
    """One model version: its counts here, its rows in the journal."""

    def __init__(
        self,
        version: Version,
        timeline: PolicyTimeline,
        watch: VersionProgress,
        windows: dict[int, WindowState],
    ) -> None:
        """`windows` by start: those that may still change."""
        self.version = version
        self.timeline = timeline
        self.layout = rows.RowLayout(version.manifest)
        self.counting = RowCounters(version)
        stated = version.manifest.prediction.classes
        classification = version.manifest.task == "classification"
        self.classes = frozenset(map(category, stated)) if classification else None
        self.watch = watch
        self.due = 0  # no pane or window ends before this event time
        self.windows = windows
        self.starts = sorted(windows)
        in_order = [windows[start] for start in self.starts]
        self.open = {state.start: state for state in in_order if not state.closed}
        # Closed windows that await labels, by start and until when.
        self._awaiting = [self._until(state) for state in in_order if state.closed]
        heapify(self._awaiting)
        self.samples: dict[int, RowSample] = {}
        # closed windows whose labels changed since last looked at
        self.relabelled: set[int] = set()
        self.touched: set[int] = set()  # windows to save at the end of the step
        self.absorbed: set[int] = set()  # panes to forget then

    @property
    def key(self) -> Key:
        """Model and version number."""
        return self.version.model, self.version.number

    def era(self, time: int) -> PolicyPeriod:
        """How this version is watched at an event time; all of a window by that of its start."""
        return self.timeline.at(time)

    def pane(self, time: int) -> Window:
        """The pane that holds the event time."""
        return self.timeline.pane(time)

    def panes(self) -> list[CountedSpan]:
        """Those with events that no window has taken in yet, in order."""
        done = self.watch.closed_until
        panes = sorted(start for start in self.open if start >= done)
        return [CountedSpan(self.open[start].window, self.open[start].rows) for start in panes]

    def filling(self) -> CountedSpan | None:
        """The window that has taken in panes and awaits more."""
        done = self.watch.closed_until
        state = next((state for state in self.open.values() if state.start < done), None)
        return None if state is None else CountedSpan(state.window, state.rows)

    def next_end(self) -> int:
        """When the next pane or window ends."""
        filling = self.filling()
        ends = [pane.window.end for pane in self.panes()]
        if filling is not None:
            ends.append(self.timeline.grid(filling.window.start).latest_end(filling.window.start))
        return min(ends, default=END_OF_TIME)

    def holding(self, start: int) -> WindowState | None:
        """The window that keeps the rows of the pane that begins here, if it may still change."""
        state = self.windows.get(start)
        if state is None and (before := bisect_right(self.starts, start)):
            state = self.windows[self.starts[before - 1]]
        return state if state is not None and start < state.end else None

    def state(self, window: Window) -> WindowState:
        """The counts of a window or pane, begun if there are none; saved at the end of the step."""
        self.touched.add(window.start)
        state = self.windows.get(window.start)
        if state is None:
            by_rows = self.era(window.start).grid.rows is not None
            state = WindowState(window.start, window.end, pane=by_rows)
            self.windows[window.start] = self.open[window.start] = state
            insort(self.starts, window.start)
            self.due = min(self.due, window.end)
            self.samples[window.start] = self.sample(window)
        return state

    def close(self, state: WindowState) -> None:
        """Close a window, which from now on only awaits labels; windows close in order."""
        self.touched.add(state.start)
        self.counting.settle()
        state.pane = False
        state.closed = True
        self.open.pop(state.start)
        heappush(self._awaiting, self._until(state))
        self.samples.pop(state.start, None)

    def forget(self, start: int) -> WindowState:
        """Know nothing any more of a window that cannot change, or of a pane that was taken in."""
        self.counting.settle()
        self.starts.pop(bisect_left(self.starts, start))
        self.open.pop(start, None)
        self.samples.pop(start, None)
        return self.windows.pop(start)

    def expiring(self, mark: int) -> Iterator[WindowState]:
        """The closed windows whose labels nobody awaits any more at this watermark."""
        while self._awaiting and self._awaiting[0][0] <= mark:
            yield self.windows[heappop(self._awaiting)[1]]

    @property
    def wakes(self) -> int:
        """Before the log receives something at this time, silence ends no window of it."""
        expires = self._awaiting[0][0] if self._awaiting else END_OF_TIME
        return min(self.due, expires) + self.watch.lag + IDLE

    def awaited_from(self) -> int:
        """No window before this event time awaits labels, or more events."""
        waiting = (start for start in self.starts if not self.windows[start].expired)
        return next(waiting, END_OF_TIME)

    def sample(self, window: Window) -> RowSample:
        """An empty one of as many rows as the window may keep."""
        return RowSample(self.era(window.start).policy.window.max_rows)

    def _until(self, state: WindowState) -> tuple[int, int]:
        wait = self.era(state.start).policy.window.label_wait
        return state.end + wait * SECOND, state.start


class ConsumerState:
    """Everything the consumer knows, loaded once and saved with every step."""

    def __init__(
        self,
        journal: Journal,
        find_version: FindVersion,
        timeline: Callable[[Version], PolicyTimeline] = as_registered,
        retention: Retention | None = None,
    ) -> None:
        """Take up where the journal stands; `timeline` says how versions are watched."""
        self.retention = retention or Retention()
        self._journal = journal
        self._find_version = find_version
        self._timeline = timeline
        self._watching: dict[Key, VersionState] = {}
        self._watches: dict[Key, bytes] = {}  # as they were saved last
        self.positions: dict[str, Position] = journal.positions()
        self.ledgers: dict[str, SourceLedger] = journal.ledgers()
        self.latest = max((ledger.heard for ledger in self.ledgers.values()), default=0)
        self.totals: Counter[str] = Counter()  # since the last save
        self.monitored: Counter[tuple[str, int]] = Counter()  # since then, by source and minute
        self._late: dict[tuple[str, str, int], LateCounts] = {}  # since then, by version and pane
        for key, watch in journal.version_progress().items():
            try:
                version = find_version(*key)
                eras = timeline(version)
            except RegistryError as error:
                # What it left stays in the database; others must be watched all the same.
                _logger.warning("not watched any more: %s", error)
                continue
            self._watching[key] = VersionState(version, eras, watch, journal.windows(key))

    def watching(self, model: str, number: str) -> VersionState:
        """The version under watch, from now on if it was not; raises RegistryError."""
        known = self._watching.get((model, number))
        if known is None:
            version = self._find_version(model, number)
            watch = VersionProgress(model, number, columns=rows.columns(version.manifest))
            known = VersionState(version, self._timeline(version), watch, {})
            self._watching[model, number] = known
        return known

    def follow(self, models: Collection[str]) -> None:
        """Look again at how the versions of these models are watched."""
        for (model, number), watching in self._watching.items():
            eras = self._timeline(watching.version) if model in models else watching.timeline
            if eras.eras != watching.timeline.eras:
                watching.timeline, watching.due = eras, 0
                digest, since = eras.eras[-1].digest, eras.eras[-1].start
                _logger.info("%s version %s is watched by policy %s", model, number, digest)
                if watching.starts and watching.starts[-1] >= since:
                    # Events are stamped ahead of the registry's clock, or that is wrong.
                    _logger.warning("windows had begun before it was known; a replay may differ")

    def rows_until(self, model: str, number: str) -> int:
        """Rows of this version whose window begins before it are forgotten."""
        known = self._watching.get((model, number))
        return 0 if known is None else known.watch.rows_until

    def everything(self) -> list[VersionState]:
        """Every version under watch."""
        return list(self._watching.values())

    def silence(self, watching: VersionState) -> int:
        """The watermark of a version of which nothing more is said."""
        ledgers = {source: self.ledgers.get(source) for source in watching.watch.progress}
        heard = {source: ledger.heard for source, ledger in ledgers.items() if ledger}
        return silence(watching.watch, heard, self.latest)

    def late(self, watching: VersionState, start: int, rows: int) -> None:
        """Count an event that came too late for the pane that begins at `start`."""
        self.totals["late_events"] += 1
        self.totals["late_rows"] += rows
        before = self._late.get((*watching.key, start), LateCounts())
        self._late[*watching.key, start] = LateCounts(before.events + 1, before.rows + rows)

    def move(self, stream: str, after: Position) -> None:
        """Note how far a stream has been taken in; what comes again moves nothing back."""
        before = self.positions.get(stream)
        if before is None or before < after:
            self.positions[stream] = after

    def sample(self, watching: VersionState, window: Window) -> RowSample:
        """The rows that a window keeps."""
        sample = watching.samples.get(window.start)
        if sample is None:
            sample = watching.sample(window)
            for number in self._journal.predictions.sampled_hashes(watching.key, window):
                sample.offer(number)
            watching.samples[window.start] = sample
        return sample

    def absorb(self, watching: VersionState, filling: WindowState, pane: Window) -> None:
        """Have the window that is filling take in the pane that comes next, rows and counts."""
        kept = self.sample(watching, filling.window)
        largest = kept.merge(self.sample(watching, pane))
        filling.absorb(watching.forget(pane.start))
        watching.touched.discard(pane.start)
        watching.absorbed.add(pane.start)
        watching.touched.add(filling.start)
        if largest is not None:
            self._journal.predictions.evict_above(watching.key, filling.window, largest)

    def save(self) -> None:
        """Write what changed; part of the step's transaction."""
        self._journal.save_progress(self.positions, self.ledgers.values())
        self._save_watches()
        self._save_windows()
        for name, more in sorted(self.totals.items()):
            self._journal.count(name, more)
        self.totals.clear()
        self._journal.count_ingested(self.monitored)
        self.monitored.clear()
        self._journal.count_late(self._late)
        self._late.clear()

    def _save_watches(self) -> None:
        """Those that changed: of a thousand models, most are quiet in any one step."""
        changed = []
        for key, watching in self._watching.items():
            body = rows.encode(watching.watch)
            if body != self._watches.get(key):
                self._watches[key] = body
                changed.append((*key, body))
        self._journal.save_version_progress(changed)

    def _save_windows(self) -> None:
        changed, gone = [], []
        for watching in self._watching.values():
            watching.counting.settle()
            for start in sorted(watching.touched):
                if watching.windows[start].expired:
                    gone.append((*watching.key, start))
                    watching.forget(start)
                else:
                    changed.append((watching.key, watching.windows[start]))
            watching.touched.clear()
            gone += [(*watching.key, start) for start in sorted(watching.absorbed)]
            watching.absorbed.clear()
        self._journal.delete_windows(gone)
        self._journal.save_windows(changed)
