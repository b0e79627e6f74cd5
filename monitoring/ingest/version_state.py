"""The state of one monitored model version: windows, counters, samples, and unsaved changes.

Every change of a window is made by its `VersionState`, which tracks what to save and what to check.
This module does not write to the database: it returns effects (closed windows, evictions, changes
to save), which the caller applies.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

import msgspec
from msgspec.structs import replace

from eventlog.events import Label
from monitoring.baselines.selection import baseline_at
from monitoring.counters.duration_buckets import count
from monitoring.counters.row_counters import RowCounters
from monitoring.results import Window
from monitoring.storage import row_layout, rows
from monitoring.storage.predictions import Key
from monitoring.storage.row_layout import PredictedRow
from monitoring.storage.rows import StoredPrediction, StoredRow
from monitoring.windows import retention
from monitoring.windows.grid import END_OF_TIME, SECOND, Close, CountedSpan, Fill, next_steps
from monitoring.windows.learned_baseline import LearnedWindow, learned_span
from monitoring.windows.policy_periods import PolicyPeriod, PolicyTimeline
from monitoring.windows.retention import Retention
from monitoring.windows.row_sample import RowSample
from monitoring.windows.tensor_samples import TensorEviction, TensorSamples
from monitoring.windows.watermark import IDLE, VersionProgress
from monitoring.windows.window_state import WindowState
from registry.baselines import BaselineRecord, RecordedBaseline
from registry.features import expects_labels
from registry.labels import classes_of
from registry.manifest import Monitoring, Version
from registry.reference_path import learns
from registry.sampled_tensors import SampledTensor, sampled_vectors, shown_inputs


class Eviction(msgspec.Struct, frozen=True):
    """An instruction to delete the values of a window's rows whose hash exceeds `largest`."""

    window: Window
    largest: int


class WindowChanges(msgspec.Struct, frozen=True):
    """The changes of a version's windows to write."""

    saved: list[WindowState]
    deleted: list[int]  # starts of windows


class VersionState:
    """The state of one model version between the steps of the consumer."""

    def __init__(
        self,
        version: Version,
        timeline: PolicyTimeline,
        progress: VersionProgress,
        windows: dict[int, WindowState],
        sampled_hashes: Callable[[Window, str], Iterable[int]],
    ) -> None:
        """Resume with the windows that can still change, keyed by their start.

        `sampled_hashes(window, tensor)` reads the hashes of a window's stored sample of a tensor,
        or of its stored rows if `tensor` is empty.
        """
        self.version = version
        self.key: Key = (version.model, version.number)
        self.layout = row_layout.RowLayout(version.manifest)
        self.classes = classes_of(version.manifest)
        self._timeline = timeline
        self._progress = progress
        self._sampled_hashes = sampled_hashes
        self._counters = RowCounters(version)
        self.learns = learns(version)
        self.expects_labels = expects_labels(version.manifest)
        self.is_reviewed = _is_reviewed(timeline)
        self._recorded: Sequence[RecordedBaseline] = ()
        self._is_announced = progress.baseline is None
        self._due = 0  # no pane or window ends before this event time
        self._delay: int | None = None  # cached `_progress.delay`
        self._windows = windows
        self._starts = sorted(windows)
        in_order = [windows[start] for start in self._starts]
        self._open = {state.start: state for state in in_order if state.accepts_events}
        # A heap of (deadline, start) of the closed windows that await labels.
        self._awaiting = [
            self._label_deadline(state) for state in in_order if not state.accepts_events
        ]
        heapify(self._awaiting)
        self._samples: dict[int, RowSample] = {}  # keyed by start of the window or pane
        self.shown_inputs = shown_inputs(version.manifest)
        self._sampled_tensors: dict[str, list[SampledTensor]] = {}  # keyed by policy digest
        # Window start and result of the last call of `sampled_tensors`; -1 before the first call.
        self._last_tensors: tuple[int, list[SampledTensor]] = (-1, [])
        self._tensor_samples = TensorSamples(self._tensor_sizes, sampled_hashes)
        # Starts of closed windows that got labels since the last `pop_relabelled`.
        self._relabelled: set[int] = set()
        self._unsaved: set[int] = set()  # starts of windows and panes that the next save writes
        self._absorbed: set[int] = set()  # starts of panes that the next save deletes

    # Properties

    @property
    def columns(self) -> Sequence[str]:
        """Names of a stored row's values."""
        return self._progress.columns

    @property
    def rows_until(self) -> int:
        """The event time before which all rows have expired."""
        return self._progress.rows_until

    @property
    def samples_until(self) -> int:
        """The event time before which all sampled rows have expired."""
        return self._progress.samples_until

    @property
    def closed_until(self) -> int:
        """The event time up to which every window and pane is closed."""
        return self._progress.closed_until

    def period(self, time: int) -> PolicyPeriod:
        """Return the policy period of an event time; for a window, pass its start."""
        return self._timeline.at(time)

    def policy(self, time: int) -> Monitoring:
        """Return the policy of an event time."""
        return self._timeline.at(time).policy

    def set_timeline(self, timeline: PolicyTimeline) -> bool:
        """Apply policy periods; return False if no period has changed."""
        if timeline.periods == self._timeline.periods:
            return False
        self._timeline, self._due = timeline, 0
        self._last_tensors = (-1, [])
        self.is_reviewed = _is_reviewed(timeline)
        return True

    def has_windows_since(self, time: int) -> bool:
        """Return whether a window begins at `time` or later."""
        return bool(self._starts) and self._starts[-1] >= time

    # Ingestion

    def advance(self, source: str, time: int, received: int, clock: int) -> None:
        """Advance the watermark by an event; `clock` is the newest reception of its source."""
        self._delay = None
        self._progress.advance(source, time, received, clock)

    def pane(self, time: int) -> Window:
        """Return the pane that contains an event time."""
        return self._timeline.pane(time)

    def is_closed(self, pane: Window) -> bool:
        """Return whether a pane is closed, so that its further events are late."""
        return pane.end <= self._progress.closed_until

    def add_event(self, pane: Window, outcome: str, latency: int | None) -> WindowState:
        """Count a request in its pane; `latency` is in microseconds, None if it has no answer."""
        state = self._find_or_open(pane)
        state.events[outcome] = state.events.get(outcome, 0) + 1
        if latency is not None:
            count(state.latency, latency)
        return state

    def add_row(self, state: WindowState, row: PredictedRow | None) -> None:
        """Count a predicted row, which is None if its payload was not logged."""
        state.rows += 1
        if row is None or row.partial:
            state.inputs.withheld += 1
        if row is None:
            return
        if row.partial:
            self._counters.add_summaries(state, row.values)
        else:
            self._counters.add(state, row.values)

    def sample(self, state: WindowState, hash_: int) -> tuple[bool, int | None]:
        """Offer a row to the sample by its hash.

        Return whether the row is sampled, and the hash of the row that it evicts.
        """
        sample = self._samples.get(state.start)
        return (self._load_sample(state.window) if sample is None else sample).offer(hash_)

    def sampled_tensors(self, start: int) -> list[SampledTensor]:
        """Return the tensors of which a window that begins at `start` samples rows."""
        if start == self._last_tensors[0]:  # saves time for almost every event
            return self._last_tensors[1]
        period = self.period(start)
        tensors = self._sampled_tensors.get(period.digest)
        if tensors is None:
            manifest = replace(self.version.manifest, monitoring=period.policy)
            tensors = [*self.shown_inputs, *sampled_vectors(manifest)]
            self._sampled_tensors[period.digest] = tensors
        self._last_tensors = start, tensors
        return tensors

    def _tensor_sizes(self, start: int) -> dict[str, int]:
        return {tensor.name: tensor.size for tensor in self.sampled_tensors(start)}

    def sample_tensor(self, tensor: str, state: WindowState, hash_: int) -> tuple[bool, int | None]:
        """Offer a row of a logged tensor to the tensor's sample; return values as in `sample`."""
        return self._tensor_samples.offer(tensor, state.window, hash_)

    def add_label(
        self, state: WindowState, row: StoredRow | StoredPrediction, label: Label, time: int | None
    ) -> None:
        """Count a row's label; `time` is the label's event time in microseconds."""
        state.labelled += 1
        if row.time is not None and time is not None:
            count(state.label_delay, time - row.time)
        if row.predicted is not None:
            self._counters.add_label(state, label, rows.decode(row.predicted))
        self._relabel(state)

    def add_review(self, state: WindowState) -> None:
        """Count a review decision: a person's decision about a row's label."""
        state.reviews += 1
        self._relabel(state)

    def add_conflict(self, state: WindowState) -> None:
        """Count a label that contradicts an earlier label of its row."""
        state.conflicting += 1
        self._relabel(state)

    def window_at(self, start: int) -> WindowState | None:
        """Return the window that contains the pane at `start`; None if missing or expired."""
        state = self._windows.get(start)
        if state is None and (before := bisect_right(self._starts, start)):
            state = self._windows[self._starts[before - 1]]
        return None if state is None or start >= state.end or state.phase == "expired" else state

    # Closing

    @property
    def newest(self) -> int:
        """The newest event time of the version's events; their watermark is never later."""
        return self._progress.newest

    def watermark(self, *, drained: bool) -> int:
        """Return the event time before which no event is expected."""
        return self._progress.watermark(drained=drained)

    def idle_watermark(self, received: Mapping[str, int], latest: int) -> int:
        """Return the watermark without traffic; see `VersionProgress.idle_watermark`."""
        return self._progress.idle_watermark(received, latest)

    @property
    def sources(self) -> Iterable[str]:
        """The sources that have served this version."""
        return self._progress.progress

    @property
    def idle_deadline(self) -> int:
        """The reception time before which no window closes or expires without traffic."""
        expires = self._awaiting[0][0] if self._awaiting else END_OF_TIME
        closes = self._due + self._timeline.least_grace
        if self._delay is None:
            self._delay = self._progress.delay
        return min(closes, expires) + self._delay + IDLE

    def is_due(self, mark: int) -> bool:
        """Return whether a window can close or expires at watermark `mark`, or was relabelled."""
        expires = bool(self._awaiting) and self._awaiting[0][0] <= mark
        return expires or bool(self._relabelled) or self._closes(mark)

    def close_until(self, mark: int) -> Iterator[Eviction | TensorEviction | WindowState]:
        """Close the windows that watermark `mark` has passed, in order of event time.

        Yields evictions and closed windows. The caller must apply each before it takes the next.
        """
        if not self._closes(mark):
            return
        closed_until = self._progress.closed_until
        done = self._timeline.done(mark, closed_until)
        panes = self._panes()
        for step in next_steps(self._timeline.grid, self._filling(), panes, closed_until, done):
            if isinstance(step, Close):
                yield self._close(self._find_or_open(step.window), step.window.end)
            else:
                yield from self._fill(step)
        self._due = self._next_end()

    def close_open_window(self) -> WindowState | None:
        """Close and return the window that is still absorbing panes, before its end, if any."""
        filling = self._filling()
        if filling is None:
            return None
        return self._close(self._find_or_open(filling.window), filling.window.end)

    def begin_scoring(self, state: WindowState) -> None:
        """Start a new result revision of a closed window."""
        self._unsaved.add(state.start)
        self._counters.flush()
        state.revision += 1
        state.scored_labels = state.labelled
        state.scored_reviews = state.reviews

    def pop_relabelled(self) -> list[WindowState]:
        """Return the closed windows whose labels changed since the last call, oldest first."""
        if not self._relabelled:
            return []
        relabelled = [self._windows[start] for start in sorted(self._relabelled)]
        self._relabelled.clear()
        return relabelled

    def expiring(self, mark: int) -> Iterator[WindowState]:
        """Yield closed windows whose wait for labels has ended; the caller must `expire` each."""
        while self._awaiting and self._awaiting[0][0] <= mark:
            yield self._windows[heappop(self._awaiting)[1]]

    def expire(self, state: WindowState) -> None:
        """Mark a window as expired: later labels do not revise it."""
        self._unsaved.add(state.start)
        state.move("expire")

    def expire_rows(self, limits: Retention, until: int, mark: int) -> None:
        """Advance `rows_until` and `samples_until` after a window up to `until` has expired.

        An earlier window may still await labels, because a policy can change how long windows wait.
        """
        wait = self._timeline.longest_wait(self._progress.rows_until, until)
        retention.advance(self._progress, limits, min(until, self._awaited_from()), mark - wait)

    def trailing_span(self, start: int) -> Window | None:
        """Return the span of a window's trailing reference, or None if it has none."""
        trailing, recent = self.policy(start).trailing, self._progress.recent
        if trailing is None or len(recent) < trailing.windows:
            return None
        return Window(recent[-trailing.windows], start)

    def extend_trailing(self, state: WindowState) -> None:
        """Add a closed window to the trailing reference of later windows."""
        policy, progress = self.policy(state.start), self._progress
        if policy.trailing is None:
            progress.recent = []  # a later trailing reference starts with later windows
        elif state.rows >= policy.alarms.min_rows:
            progress.recent = [*progress.recent, state.start][-policy.trailing.windows :]

    # Baseline of a version without a reference

    def set_recorded_baselines(self, recorded: Sequence[RecordedBaseline]) -> None:
        """Apply the baselines that the registry has recorded for this version."""
        self._recorded = recorded

    def baseline(self, start: int) -> BaselineRecord | None:
        """Return the baseline of a window that begins at `start`; None if it is not learned yet."""
        return baseline_at(start, self._progress.baseline, self._recorded)

    def learned_rows(self) -> tuple[int, int]:
        """Return the numbers of windows and rows that the baseline has learned so far."""
        windows = self._progress.learning
        return len(windows), sum(window.rows for window in windows)

    def learn(self, state: WindowState, rows: int) -> Window | None:
        """Add a closed window with `rows` sampled rows to the baseline that is being learned.

        Return the baseline's span once it is complete; the caller must call `complete_baseline`.
        """
        progress = self._progress
        if not self.learns or progress.baseline is not None:
            return None
        progress.learning = [*progress.learning, LearnedWindow(state.start, state.end, rows)]
        return learned_span(progress.learning, self.policy(state.start).baseline)

    def complete_baseline(self, span: Window, rows: int, digest: str) -> None:
        """Set the learned baseline; later windows are compared with its rows."""
        self._progress.baseline = BaselineRecord(
            origin="learned",
            digest=digest,
            start=span.start,
            end=span.end,
            rows=rows,
            windows=[window.start for window in self._progress.learning],
        )
        self._progress.learning = []
        self._is_announced = False

    def pop_learned(self) -> BaselineRecord | None:
        """Return the learned baseline once after each start of the monitor, otherwise None."""
        if self._is_announced:
            return None
        self._is_announced = True
        return self._progress.baseline

    # Saving

    def encoded_progress(self) -> bytes:
        """Return the version's state without its windows, encoded for the database."""
        return rows.encode(self._progress)

    def pop_changes(self) -> WindowChanges:
        """Return the changes since the last call, and drop expired windows."""
        self._counters.flush()
        changes = WindowChanges([], [])
        for start in sorted(self._unsaved):
            if self._windows[start].phase == "expired":
                changes.deleted.append(start)
                self._drop(start)
            else:
                changes.saved.append(self._windows[start])
        changes.deleted.extend(sorted(self._absorbed))
        self._unsaved.clear()
        self._absorbed.clear()
        return changes

    def _closes(self, mark: int) -> bool:
        return self._timeline.done(mark, self._progress.closed_until) >= self._due

    def _panes(self) -> list[CountedSpan]:
        """Return the panes with events that no window has absorbed, in order."""
        done = self._progress.closed_until
        panes = sorted(start for start in self._open if start >= done)
        return [CountedSpan(self._open[start].window, self._open[start].rows) for start in panes]

    def _filling(self) -> CountedSpan | None:
        """Return the window that has absorbed panes and awaits further panes, if any."""
        done = self._progress.closed_until
        state = next((state for state in self._open.values() if state.start < done), None)
        return None if state is None else CountedSpan(state.window, state.rows)

    def _next_end(self) -> int:
        """Return the end of the next pane or window."""
        filling = self._filling()
        ends = [pane.window.end for pane in self._panes()]
        if filling is not None:
            start = filling.window.start
            ends.append(self._timeline.grid(start).latest_end(start))
        return min(ends, default=END_OF_TIME)

    def _find_or_open(self, window: Window) -> WindowState:
        """Return the state of a window or pane, and create it if there is none."""
        self._unsaved.add(window.start)
        state = self._windows.get(window.start)
        if state is None:
            by_rows = self.period(window.start).grid.rows is not None
            state = WindowState(window.start, window.end, phase="pane" if by_rows else "open")
            self._windows[window.start] = self._open[window.start] = state
            insort(self._starts, window.start)
            self._due = min(self._due, window.end)
            self._samples[window.start] = self._empty_sample(window)
            self._tensor_samples.begin(window)
        return state

    def _fill(self, step: Fill) -> list[Eviction | TensorEviction]:
        """Merge the next pane into a window, or make it the window; return the evictions."""
        filling = self._find_or_open(step.window)
        filling.move("open")
        self._progress.closed_until = step.pane.end
        if step.pane.start == step.window.start:
            return []
        largest = self._load_sample(filling.window).merge(self._load_sample(step.pane))
        evicted = self._tensor_samples.merge(filling.window, step.pane)
        filling.absorb(self._drop(step.pane.start))
        self._unsaved.discard(step.pane.start)
        self._absorbed.add(step.pane.start)
        return [*evicted, *([] if largest is None else [Eviction(filling.window, largest)])]

    def _close(self, state: WindowState, end: int) -> WindowState:
        state.end = end
        self._progress.closed_until = end
        self._counters.flush()
        state.move("open")  # needed by an empty window, which no pane has opened
        state.move("close")
        self._open.pop(state.start)
        heappush(self._awaiting, self._label_deadline(state))
        self._samples.pop(state.start, None)
        self._tensor_samples.drop(state.start)
        return state

    def _drop(self, start: int) -> WindowState:
        self._counters.flush()
        self._starts.pop(bisect_left(self._starts, start))
        self._open.pop(start, None)
        self._samples.pop(start, None)
        self._tensor_samples.drop(start)
        return self._windows.pop(start)

    def _relabel(self, state: WindowState) -> None:
        self._unsaved.add(state.start)
        if not state.accepts_events:
            self._relabelled.add(state.start)

    def _awaited_from(self) -> int:
        """Return the start of the first window that awaits labels or events."""
        waiting = (start for start in self._starts if self._windows[start].phase != "expired")
        return next(waiting, END_OF_TIME)

    def _load_sample(self, window: Window) -> RowSample:
        sample = self._samples.get(window.start)
        if sample is None:
            sample = self._samples[window.start] = self._empty_sample(window)
            for hash_ in self._sampled_hashes(window, ""):
                sample.offer(hash_)
        return sample

    def _empty_sample(self, window: Window) -> RowSample:
        return RowSample(self.policy(window.start).window.max_rows)

    def _label_deadline(self, state: WindowState) -> tuple[int, int]:
        wait = self.policy(state.start).window.label_wait
        return state.end + wait * SECOND, state.start


def _is_reviewed(timeline: PolicyTimeline) -> bool:
    """Return whether people review rows of any policy period."""
    return any(period.policy.review is not None for period in timeline.periods)
