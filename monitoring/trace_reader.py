"""Trace one prediction through the log, the registry and the monitor's database."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from eventlog.events import PredictionEvent
from eventlog.log_search import LogSearch
from monitoring.prediction_trace import (
    MonitoredRow,
    MonitorTrace,
    PredictionTrace,
    TracedWindow,
    VersionLineage,
)
from monitoring.presenter import formats
from monitoring.results import Alarm, Result, Window
from monitoring.storage.rows import StoredPrediction, decode
from monitoring.windows.grid import END_OF_TIME
from registry.catalogue import Catalogue
from registry.errors import DamagedRow, RegistryError
from registry.gates.reports import GateReports
from registry.history.provenance import Provenance, StatedAnswer, provenance_of
from registry.history.rows import HistoryRow, Registration

_MOST_WINDOWS = 128  # maximum windows searched for a prediction, newest first


class _Identity(NamedTuple):
    """The version that answered, and the event time that determines the prediction's window."""

    model: str
    version: str
    time: int  # microseconds since the epoch


class MonitorFindings(Protocol):
    """The port to the monitor's database; `Store` implements it."""

    def prediction(self, prediction_id: str) -> dict[int, StoredPrediction]: ...

    def results(self, model: str, version: str, *, last: int, before: int) -> list[Result]: ...

    def live(self, model: str, version: str) -> list[Result]: ...

    def alarms(self) -> list[Alarm]: ...


class HistoryReader(Protocol):
    """The port to the registry's history; `History` implements it."""

    def rows(self, model: str) -> list[HistoryRow]: ...


class TraceSources(NamedTuple):
    """The sources of a trace; an unavailable source is None."""

    search: Callable[[str], LogSearch] | None
    findings: MonitorFindings | None
    history: HistoryReader | None
    catalogue: Catalogue | None
    reports: GateReports | None


class TraceReader:
    """Assembles traces from all available sources."""

    def __init__(self, sources: TraceSources, places: Mapping[str, str]) -> None:
        """`places` names, for each part of a trace, the place that is searched for it."""
        self._search, self._findings, self._history, self._catalogue, self._reports = sources
        self._places = places

    def read(self, prediction_id: str) -> PredictionTrace:
        """Return a prediction's trace; raises DatabaseUnavailable and RegistryUnavailable."""
        search = self._search(prediction_id) if self._search is not None else None
        event = _answered(search)
        stored = self._findings.prediction(prediction_id) if self._findings is not None else {}
        identity = _identity(event, stored)
        monitor = self._monitored(identity, stored)
        rows = self._history.rows(identity.model) if identity and self._history is not None else []
        answer = _answer(event, identity)
        registry = provenance_of(rows, answer) if rows and answer is not None else None
        lineage = self._lineage(identity, event, registry)
        page = self._gate_page(registry)
        parts = {
            "event": event,
            "labels": search is not None and search.labels,
            "registry": registry,
            "lineage": lineage,
            "gate report": page or (registry is not None and registry.gated is None),
            "monitored rows": stored,
            "window": monitor is not None and monitor.windows,
        }
        places = {**self._places, "event": self._searched(search), "labels": self._searched(search)}
        return PredictionTrace(
            prediction_id=prediction_id,
            event=event,
            repeated=_repeated(search, event),
            labels=search.labels if search is not None else [],
            registry=registry,
            answered_at=_time_of(rows, answer),
            lineage=lineage,
            gate_page=page,
            monitor=monitor,
            not_found={part: places[part] for part, value in parts.items() if not value},
        )

    def _searched(self, search: LogSearch | None) -> str:
        if search is None:
            return self._places["event"]
        damaged = f", {search.damaged} damaged ranges" if search.damaged else ""
        return (
            f"{self._places['event']} ({formats.several(search.segments, 'segment')} of "
            f"{formats.several(search.sources, 'source')}, {search.size / 1e6:,.1f} MB{damaged})"
        )

    def _monitored(
        self, identity: _Identity | None, stored: Mapping[int, StoredPrediction]
    ) -> MonitorTrace | None:
        if self._findings is None or identity is None or not identity.version:
            return None
        late = bool(stored) and all(row.late for row in stored.values())
        windows = [] if late else self._windows(identity)
        return MonitorTrace(
            model=identity.model,
            version=identity.version,
            rows=[_row(number, row) for number, row in sorted(stored.items())],
            windows=windows,
            alarms=[
                alarm
                for alarm in self._findings.alarms()
                if (alarm.model, alarm.version) == (identity.model, identity.version)
                and any(_overlaps(alarm, traced.window) for traced in windows)
            ],
        )

    def _windows(self, identity: _Identity) -> list[TracedWindow]:
        assert self._findings is not None
        closed = self._findings.results(
            identity.model, identity.version, last=_MOST_WINDOWS, before=identity.time + 1
        )
        opened = self._findings.live(identity.model, identity.version)
        windows = [
            _window(window, closed=True)
            for window in closed
            if _contains(window.window, identity.time)
        ]
        windows += [
            _window(window, closed=False)
            for window in opened
            if _contains(window.window, identity.time)
        ]
        return list(reversed(windows))

    def _lineage(
        self, identity: _Identity | None, event: PredictionEvent | None, registry: Provenance | None
    ) -> VersionLineage | None:
        if self._catalogue is None or identity is None:
            return None
        try:
            versions = self._catalogue.versions(identity.model)
        except RegistryError:
            return None
        version = next(
            (version for version in versions if version.number == identity.version), None
        )
        if version is None or (event is not None and event.digest not in {"", version.digest}):
            return None
        manifest = version.manifest
        return VersionLineage(
            lineage=manifest.lineage,
            task=manifest.task,
            target=manifest.target,
            trained_by=_trainer(registry),
            files=version.files,
        )

    def _gate_page(self, registry: Provenance | None) -> str:
        if registry is None or registry.gated is None or self._reports is None:
            return ""
        page = self._reports.page(registry.gated.evidence)
        return str(page) if page.exists() else ""


def _answered(search: LogSearch | None) -> PredictionEvent | None:
    """Return the first answered event, or the first event if none was answered."""
    if search is None:
        return None
    answered = (prediction for prediction in search.predictions if prediction.outcome == "ok")
    return next(answered, search.predictions[0] if search.predictions else None)


def _repeated(search: LogSearch | None, event: PredictionEvent | None) -> list[str]:
    return (
        [prediction.event_id for prediction in search.predictions if prediction is not event]
        if search
        else []
    )


def _identity(
    event: PredictionEvent | None, stored: Mapping[int, StoredPrediction]
) -> _Identity | None:
    if stored:
        first = stored[min(stored)]
        return _Identity(first.model, first.version, first.start)
    return None if event is None else _Identity(event.model, event.version, event.time)


def _answer(event: PredictionEvent | None, identity: _Identity | None) -> StatedAnswer | None:
    """Return what an event states about its answer, or only the version without an event.

    The event time is not used as the time of the answer, because clients can set it.
    """
    if event is None:
        return (
            None
            if identity is None
            else StatedAnswer(number=identity.version, received=END_OF_TIME)
        )
    return StatedAnswer(
        number=event.version,
        received=event.received,
        digest=event.digest,
        alias=event.alias,
        revision=event.revision,
        rollout=event.rollout,
        by_rollout=event.arm == "rollout",
    )


def _time_of(rows: Sequence[HistoryRow], answer: StatedAnswer | None) -> int:
    """Return the time of the newest history row that the service had applied; 0 if unknown."""
    if answer is None or not answer.revision:
        return 0
    return max((row.time for row in rows if row.revision <= answer.revision), default=0)


def _row(number: int, stored: StoredPrediction) -> MonitoredRow:
    return MonitoredRow(
        row=number,
        time=stored.time,
        late=stored.late,
        predicted=None if stored.predicted is None else decode(stored.predicted),
        label=stored.label,
    )


def _window(result: Result, *, closed: bool) -> TracedWindow:
    return TracedWindow(
        window=result.window,
        closed=closed,
        verdict=result.verdict if closed else None,
        revision=result.revision,
        rows=result.rows,
        labelled=result.labelled,
        report=result.report,
    )


def _contains(window: Window, time: int) -> bool:
    return window.start <= time < window.end


def _overlaps(alarm: Alarm, window: Window) -> bool:
    return alarm.since.start < window.end and window.start < alarm.latest.end


def _trainer(registry: Provenance | None) -> str:
    if registry is None or registry.registered is None:
        return ""
    try:
        return registry.registered.decode(Registration).trained_by
    except DamagedRow:
        return ""
