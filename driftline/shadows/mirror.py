"""Follow the log and run shadows on answered requests.

Shadows run in a separate process, so a slow or crashed candidate delays no reply of the service.
Requests older than a limit are skipped and counted, so that the lag stays bounded.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from driftline.gates.context import NotEnoughData
from driftline.shadows.answer import Answer
from eventlog.errors import DriftlineError
from eventlog.events import PredictionEvent
from eventlog.log import Position, Reader, Record
from registry.history.rollout_state import hash_key, position
from registry.history.shadow_state import Shadow
from registry.history.store import History
from registry.shadow_report import ShadowCounts, ShadowReport

MOST_LAG_S = 60.0
_RECORDS = 256  # maximum number of records per read
_MOST_ROWS = 2_048  # maximum number of rows per run; the age of requests is checked before each run

_logger = logging.getLogger(__name__)


class Answering(Protocol):
    """A version that runs on requests; implemented by ShadowRun."""

    def answer(self, events: Sequence[PredictionEvent]) -> tuple[list[Answer], int]:
        """Return an answer for each request with all features, and the number of other requests."""
        ...


class Answers(Protocol):
    """A log of answers; implemented by AnswerLog."""

    @property
    def full(self) -> bool:
        """Whether the log is short of space."""
        ...

    def append(self, model: str, shadow: Shadow, digest: str, answers: Sequence[Answer]) -> None:
        """Append one event per answer."""
        ...


OpenReader = Callable[[Mapping[str, Position], int], Reader]  # from positions, or else from a time
Load = Callable[[str, str], Answering]  # model, number; raises DriftlineError


class Mirror:
    """Runs the active shadows; used by one thread."""

    def __init__(  # noqa: PLR0913  # one argument per dependency
        self,
        history: History,
        open_reader: OpenReader,
        load: Load,
        log: Answers,
        *,
        clock: Callable[[], int],
        most_lag_s: float = MOST_LAG_S,
        report: ShadowReport | None = None,
    ) -> None:
        """Continue from the positions in `report`; `clock` returns microseconds since the epoch."""
        self._history, self._open_reader, self._load = history, open_reader, load
        self._log, self._clock, self._most_lag = log, clock, most_lag_s * 1e6
        self.report = report or ShadowReport()
        self._reader: Reader | None = None
        self._revision = -1
        self._running: dict[str, _Running] = {}  # by id of the shadow

    def close(self) -> None:
        """Close the reader of the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def step(self) -> bool:
        """Run shadows on new records; return whether there were new records."""
        self._update_shadows()
        self.report.updated = self._clock()
        if not self._running:
            self.close()
            self.report.positions, self.report.lag_s = {}, 0.0
            return False
        if self._reader is None:
            since = min(running.shadow.since for running in self._running.values())
            self._reader = self._open_reader(self.report.positions, since)
        records = self._reader.poll(_RECORDS)
        for gap in self._reader.gaps():
            _logger.warning("%s", gap)
        for running in self._running.values():
            self._mirror(running, [event for event in _events(records) if running.wants(event)])
        for record in records:
            self.report.positions[record.stream] = record.after
        received = [event.received for event in _events(records)]
        lag = self._clock() - max(received) if received else 0
        self.report.lag_s = max(0.0, round(lag / 1e6, 3))
        self.report.updated = self._clock()
        return bool(records)

    def _update_shadows(self) -> None:
        """Add shadows that were started, and remove shadows that were stopped."""
        revision = self._history.revision()
        if revision == self._revision:
            return
        running_by_id: dict[str, _Running] = {}
        for model in self._history.models():
            state = self._history.state(model)
            for shadow in state.shadows.values():
                counts = self.report.shadows.get(shadow.id) or ShadowCounts(model, shadow.number)
                digest = state.digest_of(shadow.number)
                running = self._running.get(shadow.id)
                running_by_id[shadow.id] = running or _Running(model, shadow, digest, counts)
        self._running = running_by_id
        self.report.shadows = {id_: running.counts for id_, running in running_by_id.items()}
        self._revision = revision

    def _mirror(self, running: "_Running", events: list[PredictionEvent]) -> None:
        part: list[PredictionEvent] = []
        for event in events:
            if part and sum(waiting_event.rows for waiting_event in part) + event.rows > _MOST_ROWS:
                self._run(running, part)
                part = []
            part.append(event)
        if part:
            self._run(running, part)

    def _run(self, running: "_Running", events: Sequence[PredictionEvent]) -> None:
        counts, fresh = running.counts, self._fresh(running.counts, events)
        if not fresh:
            return
        try:
            if running.candidate is None:
                running.candidate = self._load(running.model, running.shadow.number)
            answers, misfits = running.candidate.answer(fresh)
            self._log.append(running.model, running.shadow, running.digest, answers)
        except (DriftlineError, NotEnoughData) as error:
            if counts.note != str(error):
                _logger.warning("shadow %s of %s: %s", counts.number, counts.model, error)
            counts.note = str(error)
            counts.skip("failed", len(fresh))
            return
        counts.note = ""
        counts.skip("features", misfits)
        for answer in answers:
            counts.events += 1
            counts.rows += answer.event.rows
            counts.failed += answer.failed
            counts.agreed += answer.agreed
            counts.run_us += answer.run_us

    def _fresh(
        self, counts: ShadowCounts, events: Sequence[PredictionEvent]
    ) -> list[PredictionEvent]:
        """Return the requests to run on; count the skipped requests by reason."""
        fresh, now = [], self._clock()
        for event in events:
            if now - event.received > self._most_lag:
                counts.skip("late")
            elif event.payload != "kept":
                counts.skip("payload")
            elif self._log.full:
                counts.skip("log full")
            else:
                fresh.append(event)
        return fresh


class _Running:
    """An active shadow, with its version after it was loaded."""

    def __init__(self, model: str, shadow: Shadow, digest: str, counts: ShadowCounts) -> None:
        self.model, self.shadow, self.digest, self.counts = model, shadow, digest, counts
        self.candidate: Answering | None = None

    def wants(self, event: PredictionEvent) -> bool:
        """Return whether the shadow must run on this request.

        Another version must have answered the request after the shadow's start, and the hash of the
        prediction id must be in the shadow's share.
        """
        shadow = self.shadow
        return (
            event.model == self.model
            and event.online
            and event.outcome == "ok"
            and event.alias == shadow.alias
            and event.version != shadow.number
            and event.received >= shadow.since
            and position(hash_key(event.prediction_id, shadow.id)) < shadow.share
        )


def _events(records: Iterable[Record]) -> Iterable[PredictionEvent]:
    return (record.event for record in records if isinstance(record.event, PredictionEvent))
