"""The model versions under watch, as the consumer holds them between transactions."""

import logging
from collections import Counter, deque
from collections.abc import Callable

from eventlog.log import Position
from monitoring.core.results import SourceLedger, Window
from monitoring.core.sampling import Sample
from monitoring.core.windows import Watch, WindowState
from monitoring.state import rows
from monitoring.state.journal import Journal
from monitoring.state.predictions import Key
from registry.errors import RegistryError
from registry.manifest import Monitoring, Version

_logger = logging.getLogger(__name__)

FindVersion = Callable[[str, str], Version]  # (model, number); raises RegistryError


class Watching:
    """One model version: its counts here, its rows in the journal."""

    def __init__(self, version: Version, watch: Watch, windows: dict[int, WindowState]) -> None:
        """`windows` by start: those that may still change."""
        self.version = version
        self.layout = rows.Layout(version.manifest)
        self.watch = watch
        self.windows = windows
        in_order = [windows[start] for start in sorted(windows)]
        self.open = {state.start: state for state in in_order if not state.closed}
        self.awaiting = deque(state for state in in_order if state.closed)  # labels, oldest first
        self.samples: dict[int, Sample] = {}
        # closed windows whose labels changed since last looked at
        self.relabelled: set[int] = set()
        self.touched: set[int] = set()  # windows to save at the end of the step

    @property
    def key(self) -> Key:
        """Model and version number."""
        return self.version.model, self.version.number

    @property
    def policy(self) -> Monitoring:
        """How this version is watched."""
        return self.version.manifest.monitoring

    def open_windows(self) -> list[Window]:
        """Windows that are not closed."""
        return [state.window for state in self.open.values()]

    def state(self, window: Window) -> WindowState:
        """The counts of a window, begun if there are none; saved at the end of the step."""
        self.touched.add(window.start)
        state = self.windows.get(window.start)
        if state is None:
            state = self.windows[window.start] = WindowState(window.start, window.end)
            self.open[window.start] = state
            self.samples[window.start] = Sample(self.policy.window.max_rows)
        return state

    def close(self, window: Window) -> WindowState:
        """Close a window, which from now on only awaits labels; windows close in order."""
        state = self.state(window)
        state.closed = True
        self.awaiting.append(self.open.pop(window.start))
        self.samples.pop(window.start, None)
        return state


class Memory:
    """Everything the consumer knows, loaded once and saved with every step."""

    def __init__(self, journal: Journal, find_version: FindVersion) -> None:
        """Take up where the journal stands."""
        self._journal = journal
        self._find_version = find_version
        self._watching: dict[Key, Watching] = {}
        self._watches: dict[Key, bytes] = {}  # as they were saved last
        self.positions: dict[str, Position] = journal.positions()
        self.ledgers: dict[str, SourceLedger] = journal.ledgers()
        self.totals: Counter[str] = Counter()  # since the last save
        self.monitored: Counter[tuple[str, int]] = Counter()  # since then, by source and minute
        for key, watch in journal.watches().items():
            try:
                version = find_version(*key)
            except RegistryError as error:
                # What it left stays in the database; others must be watched all the same.
                _logger.warning("not watched any more: %s", error)
                continue
            self._watching[key] = Watching(version, watch, journal.windows(key))

    def watching(self, model: str, number: str) -> Watching:
        """The version under watch, from now on if it was not; raises RegistryError."""
        known = self._watching.get((model, number))
        if known is None:
            version = self._find_version(model, number)
            watch = Watch(model, number, columns=rows.columns(version.manifest))
            known = self._watching[model, number] = Watching(version, watch, {})
        return known

    def everything(self) -> list[Watching]:
        """Every version under watch."""
        return list(self._watching.values())

    def move(self, stream: str, after: Position) -> None:
        """Note how far a stream has been taken in; what comes again moves nothing back."""
        before = self.positions.get(stream)
        if before is None or before < after:
            self.positions[stream] = after

    def sample(self, watching: Watching, window: Window) -> Sample:
        """The rows that a window keeps."""
        sample = watching.samples.get(window.start)
        if sample is None:
            sample = Sample(watching.policy.window.max_rows)
            for number in self._journal.predictions.sampled(watching.key, window):
                sample.offer(number)
            watching.samples[window.start] = sample
        return sample

    def save(self) -> None:
        """Write what changed; part of the step's transaction."""
        self._journal.save_progress(self.positions, self.ledgers.values())
        self._save_watches()
        self._save_windows()
        for name, more in sorted(self.totals.items()):
            self._journal.count(name, more)
        self.totals.clear()
        self._journal.count_monitored(self.monitored)
        self.monitored.clear()

    def _save_watches(self) -> None:
        """Those that changed: of a thousand models, most are quiet in any one step."""
        changed = []
        for key, watching in self._watching.items():
            body = rows.encode(watching.watch)
            if body != self._watches.get(key):
                self._watches[key] = body
                changed.append((*key, body))
        self._journal.save_watches(changed)

    def _save_windows(self) -> None:
        changed = []
        for watching in self._watching.values():
            for start in sorted(watching.touched):
                state = watching.windows[start]
                changed.append((watching.key, state))
                if state.expired:
                    del watching.windows[start]
            watching.touched.clear()
        self._journal.save_windows(changed)
