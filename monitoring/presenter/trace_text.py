"""A trace of a prediction in words, for the terminal and the page."""

from collections.abc import Iterator
from typing import NamedTuple

from eventlog.events import FeedbackEvent, PredictionEvent
from monitoring.prediction_trace import MonitorTrace, PredictionTrace, TracedWindow, VersionLineage
from monitoring.presenter import formats
from registry.history.provenance import Provenance
from registry.history.rows import HistoryRow

MOST_LINES = 20  # of labels, and of rows


class TraceSection(NamedTuple):
    """A heading and what is known, as pairs of a name and a value."""

    heading: str
    lines: list[tuple[str, str]]


def trace_sections(trace: PredictionTrace) -> list[TraceSection]:
    """Return what is known, in the order from the answer to its consequences."""
    missing = trace.not_found
    sections = [
        TraceSection("Answer", list(_event(trace.event)) if trace.event else []),
        TraceSection("Registry", list(_registry(trace)) if trace.registry else []),
        TraceSection("Origin", list(_lineage(trace.lineage)) if trace.lineage else []),
        TraceSection("Labels", list(_labels(trace.labels))),
        TraceSection("Monitoring", list(_monitor(trace.monitor)) if trace.monitor else []),
    ]
    absent = [(part, f"not found here: {place}") for part, place in missing.items()]
    return [one for one in (*sections, TraceSection("Not found here", absent)) if one.lines]


def _event(event: PredictionEvent) -> Iterator[tuple[str, str]]:
    yield "event", event.event_id
    yield "received", _moment(event.received)
    if event.time != event.received:
        yield "event time", _moment(event.time)
    yield "model", f"{event.model} version {event.version or 'none resolved'}"
    yield "digest", event.digest or "not stated"
    yield "called by", f"alias {event.alias}" if event.alias else "version number"
    if event.rollout:
        arm = {"before": "the version before", "rollout": "the rolled out version"}
        yield "rollout", f"{event.rollout}, {arm.get(event.arm, 'no arm')}"
    reason = f": {event.reason}" if event.reason else ""
    rows = formats.several(event.rows, "row")
    yield "outcome", f"{event.outcome}{reason}, {rows} over {event.protocol}"
    if event.batch_id:
        place = f"rows from {event.batch_offset} of {event.batch_rows}"
        yield "batch", f"{event.batch_id}, {place}"
    if event.cache_hit:
        yield "cache", "answered from the cache; the model did not run"
    if event.request_id:
        yield "request id", event.request_id


def _registry(trace: PredictionTrace) -> Iterator[tuple[str, str]]:
    found = trace.registry
    assert found is not None
    if trace.event is not None and trace.event.revision:
        yield (
            "revision",
            f"{trace.event.revision}, the model's last change {_moment(trace.answered_at)}",
        )
    if trace.event is None:
        yield (
            "note",
            "when it was answered is not known without its event: these are the latest rows",
        )
    if found.registered:
        yield "registered", _row(found.registered)
    if found.policy:
        yield "release policy", _row(found.policy)
    yield from _release(found, trace.gate_page)
    for row in found.later:
        yield f"later {row.kind.replace('_', ' ')}", _row(row)
    for difference in found.differences:
        yield "DIFFERENCE", difference


def _release(found: Provenance, gate_page: str) -> Iterator[tuple[str, str]]:
    if found.gated:
        outcomes = ", ".join(f"{name} {outcome}" for name, outcome in found.gates.items())
        gates = f" ({outcomes})" if outcomes else ""
        yield "gates", f"{found.verdict}{gates}, {_row(found.gated)}"
        yield "gate report", gate_page or found.gated.evidence
    if found.requested:
        yield "requested", _row(found.requested)
    for approval in found.approvals:
        note = "" if approval.counted else "; did not count: stale, expired or of who asked"
        yield "approved", _row(approval.row) + note
    if found.pointed:
        yield found.pointed.kind.replace("_", " "), _row(found.pointed)


def _lineage(found: VersionLineage) -> Iterator[tuple[str, str]]:
    yield from found.lineage.items()
    if found.trained_by:
        yield "trained by", found.trained_by
    if found.target:
        yield "target", found.target
    for name, digest in sorted(found.files.items()):
        yield name, f"SHA-256 {digest}"


def _labels(labels: list[FeedbackEvent]) -> Iterator[tuple[str, str]]:
    for one in labels[:MOST_LINES]:
        who = one.actor or "a caller without a key"
        claim = "" if one.verified else ", id not verified"
        yield f"row {one.row}", f"{one.label!r} by {who}, received {_moment(one.received)}{claim}"
    if len(labels) > MOST_LINES:
        yield "more", f"{len(labels) - MOST_LINES} labels; see --json"


def _monitor(found: MonitorTrace) -> Iterator[tuple[str, str]]:
    for one in found.rows[:MOST_LINES]:
        label = "no label joined" if one.label is None else f"label {one.label!r}"
        predicted = "" if one.predicted is None else f"predicted {one.predicted!r}, "
        late = ", late: in no window" if one.late else ""
        yield f"row {one.row}", f"{predicted}{label}{late}"
    if len(found.rows) > MOST_LINES:
        yield "more", f"{len(found.rows) - MOST_LINES} rows; see --json"
    for window in found.windows:
        yield "window", _window(window)
    for alarm in found.alarms:
        span = f"{formats.moment(alarm.since.start)} to {formats.moment(alarm.latest.end)}"
        yield "alarm", f"{alarm.rule} ({alarm.severity}, {alarm.state}), {span}, {alarm.alarm_id}"
    if found.windows and not found.alarms:
        yield "alarm", "none was open"


def _window(one: TracedWindow) -> str:
    state = f"{one.verdict}, result revision {one.revision}" if one.closed else "still open"
    counts = f"{formats.several(one.rows, 'row')}, {one.labelled} labelled"
    return f"{formats.period(one.window)}: {state}, {counts}"


def _row(row: HistoryRow) -> str:
    why = f": {row.why}" if row.why else ""
    return f"by {row.actor or 'unknown'}, revision {row.revision}, {_moment(row.time)}{why}"


def _moment(time: int) -> str:
    return f"{formats.utc(time):%Y-%m-%d %H:%M:%S} UTC"
