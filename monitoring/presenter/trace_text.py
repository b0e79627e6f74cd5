"""Text of a prediction's trace, for the terminal and the status page."""

from collections.abc import Iterator
from typing import NamedTuple

from eventlog.events import FeedbackEvent, PredictionEvent
from monitoring.prediction_trace import MonitorTrace, PredictionTrace, TracedWindow, VersionLineage
from monitoring.presenter import formats, links
from registry.history.provenance import Provenance
from registry.history.rows import HistoryRow

MOST_LINES = 20  # maximum lines about labels, and maximum lines about rows


class TraceLine(NamedTuple):
    """One name and value of a trace."""

    name: str
    value: str
    path: str = ""  # path of the page about the value; empty if there is no page


class TraceSection(NamedTuple):
    """A heading with its lines."""

    heading: str
    lines: list[TraceLine]


def trace_sections(trace: PredictionTrace) -> list[TraceSection]:
    """Return the sections of a trace, from the prediction to its consequences."""
    missing = trace.not_found
    sections = [
        TraceSection("Answer", list(_event(trace.event, trace.monitor)) if trace.event else []),
        TraceSection("Registry", list(_registry(trace)) if trace.registry else []),
        TraceSection("Origin", list(_lineage(trace.lineage)) if trace.lineage else []),
        TraceSection("Labels", list(_labels(trace.labels))),
        TraceSection("Monitoring", list(_monitor(trace.monitor)) if trace.monitor else []),
    ]
    absent = [TraceLine(part, f"not found here: {place}") for part, place in missing.items()]
    return [
        section for section in (*sections, TraceSection("Not found here", absent)) if section.lines
    ]


def _event(event: PredictionEvent, monitor: MonitorTrace | None) -> Iterator[TraceLine]:
    yield TraceLine("event", event.event_id)
    yield TraceLine("received", _moment(event.received))
    if event.time != event.received:
        yield TraceLine("event time", _moment(event.time))
    path = links.model_path(monitor.model, monitor.version) if monitor is not None else ""
    yield TraceLine("model", f"{event.model} version {event.version or 'none resolved'}", path)
    yield TraceLine("digest", event.digest or "not stated")
    yield TraceLine("called by", f"alias {event.alias}" if event.alias else "version number")
    if event.rollout:
        arm = {"before": "the previous version", "rollout": "the new version"}
        yield TraceLine("rollout", f"{event.rollout}, {arm.get(event.arm, 'no arm')}")
    reason = f": {event.reason}" if event.reason else ""
    rows = formats.several(event.rows, "row")
    yield TraceLine("outcome", f"{event.outcome}{reason}, {rows} over {event.protocol}")
    if event.batch_id:
        position = f"starts at row {event.batch_offset} of {event.batch_rows}"
        yield TraceLine("batch", f"{event.batch_id}, {position}")
    if event.cache_hit:
        yield TraceLine("cache", "answered from the cache; the model did not run")
    if event.request_id:
        yield TraceLine("request id", event.request_id)


def _registry(trace: PredictionTrace) -> Iterator[TraceLine]:
    provenance = trace.registry
    assert provenance is not None
    if trace.event is not None and trace.event.revision:
        changed = f"the model's last change {_moment(trace.answered_at)}"
        path = links.history_path(trace.event.model)
        yield TraceLine("revision", f"{trace.event.revision}, {changed}", path)
    if trace.event is None:
        yield TraceLine(
            "note",
            "the time of the answer is unknown without its event; these are the registry's latest "
            "rows",
        )
    if provenance.registered:
        yield TraceLine("registered", _row(provenance.registered))
    if provenance.policy:
        yield TraceLine("release policy", _row(provenance.policy))
    yield from _release(provenance, trace.gate_page)
    for row in provenance.later:
        yield TraceLine(f"later {row.kind.replace('_', ' ')}", _row(row))
    for difference in provenance.differences:
        yield TraceLine("DIFFERENCE", difference)


def _release(provenance: Provenance, gate_page: str) -> Iterator[TraceLine]:
    if provenance.gated:
        outcomes = ", ".join(f"{name} {outcome}" for name, outcome in provenance.gates.items())
        gates = f" ({outcomes})" if outcomes else ""
        yield TraceLine("gates", f"{provenance.verdict}{gates}, {_row(provenance.gated)}")
        path = links.gate_report_path(provenance.gated.evidence) if gate_page else ""
        yield TraceLine("gate report", gate_page or provenance.gated.evidence, path)
    if provenance.requested:
        yield TraceLine("requested", _row(provenance.requested))
    for approval in provenance.approvals:
        note = "" if approval.counted else "; not counted: stale, expired or by the requester"
        yield TraceLine("approved", _row(approval.row) + note)
    if provenance.pointed:
        yield TraceLine(provenance.pointed.kind.replace("_", " "), _row(provenance.pointed))


def _lineage(lineage: VersionLineage) -> Iterator[TraceLine]:
    for name, value in lineage.lineage.items():
        yield TraceLine(name, value)
    if lineage.trained_by:
        yield TraceLine("trained by", lineage.trained_by)
    if lineage.target:
        yield TraceLine("target", lineage.target)
    for name, digest in sorted(lineage.files.items()):
        yield TraceLine(name, f"SHA-256 {digest}")


def _labels(labels: list[FeedbackEvent]) -> Iterator[TraceLine]:
    for label in labels[:MOST_LINES]:
        actor = label.actor or "a caller without a key"
        claim = "" if label.verified else ", id not verified"
        review = f", review: {label.review}" + (f", {label.why}" if label.why else "")
        details = claim + (review if label.review else "")
        yield TraceLine(
            f"row {label.row}",
            f"{label.label!r} by {actor}, received {_moment(label.received)}{details}",
        )
    if len(labels) > MOST_LINES:
        yield TraceLine("more", f"{len(labels) - MOST_LINES} labels; see --json")


def _monitor(trace: MonitorTrace) -> Iterator[TraceLine]:
    for row in trace.rows[:MOST_LINES]:
        label = "no label joined" if row.label is None else f"label {row.label!r}"
        predicted = "" if row.predicted is None else f"predicted {row.predicted!r}, "
        late = ", late: in no window" if row.late else ""
        yield TraceLine(f"row {row.row}", f"{predicted}{label}{late}")
    if len(trace.rows) > MOST_LINES:
        yield TraceLine("more", f"{len(trace.rows) - MOST_LINES} rows; see --json")
    for window in trace.windows:
        path = links.window_path(trace.model, trace.version, window.window.start)
        yield TraceLine("window", _window(window), path if window.closed else "")
    for alarm in trace.alarms:
        span = f"{formats.moment(alarm.since.start)} to {formats.moment(alarm.latest.end)}"
        state = f"{alarm.rule} ({alarm.severity}, {alarm.state}), {span}, {alarm.alarm_id}"
        path = links.window_path(alarm.model, alarm.version, alarm.latest.start)
        yield TraceLine("alarm", state, path)
    if trace.windows and not trace.alarms:
        yield TraceLine("alarm", "none was open")


def _window(window: TracedWindow) -> str:
    state = (
        f"{window.verdict}, result revision {window.revision}" if window.closed else "still open"
    )
    counts = f"{formats.several(window.rows, 'row')}, {window.labelled} labelled"
    return f"{formats.period(window.window)}: {state}, {counts}"


def _row(row: HistoryRow) -> str:
    why = f": {row.why}" if row.why else ""
    return f"by {row.actor or 'unknown'}, revision {row.revision}, {_moment(row.time)}{why}"


def _moment(time: int) -> str:
    return f"{formats.utc(time):%Y-%m-%d %H:%M:%S} UTC"
