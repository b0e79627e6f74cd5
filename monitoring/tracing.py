"""The monitor's part of the traces: a span for each scored window, linked to requests in it.

Traces change no result. Links are kept in memory only, so a restart loses those of open windows.
"""

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from eventlog.events import PredictionEvent
from eventlog.log import Record
from monitoring.results import Result, Window
from telemetry.tracing import Attributes, Span, Tracing, is_sampled

_MOST_KNOWN = 2_000  # requests of one model version that may be linked later
_MOST_LINKS = 32  # maximum links of one window; the latest are retained


class WindowTraces:
    """Export a span for each scored window, linked to the latest sampled requests in it."""

    def __init__(self, tracing: Tracing | None) -> None:
        """Without `tracing`, every method does nothing."""
        self._tracing = tracing
        self._known: dict[tuple[str, str], deque[tuple[int, str]]] = {}
        self._begun: dict[str, Span] = {}

    def ingested(self, record: Record) -> None:
        """Remember the request of an ingested record if its trace is sampled."""
        if self._tracing is None:
            return
        event = record.event
        if isinstance(event, PredictionEvent) and event.version and is_sampled(event.traceparent):
            new = partial(deque[tuple[int, str]], maxlen=_MOST_KNOWN)
            requests = self._known.setdefault((event.model, event.version), new())
            requests.append((event.time, event.traceparent))

    def scheduled(self, key: str, model: str, version: str, window: Window) -> None:
        """Begin the span of a window that is queued for scoring; `key` names the job."""
        if self._tracing is not None:
            links = self._in(model, version, window)
            self._begun[key] = self._tracing.begin(
                "score window", "consumer", time.time_ns(), links=links
            )

    def evaluated(self, key: str, result: Result) -> None:
        """End the span of a job, with the figures of its result."""
        span = self._begun.pop(key, None)
        if span is None:
            return
        about: Attributes = {
            "driftline.model": result.model,
            "driftline.version": result.version,
            "driftline.window.start": _moment(result.window.start),
            "driftline.window.end": _moment(result.window.end),
            "driftline.rows": result.rows,
            "driftline.labelled": result.labelled,
            "driftline.revision": result.revision,
        }
        span.end(time.time_ns(), about)

    def _in(self, model: str, version: str, window: Window) -> Sequence[str]:
        requests = self._known.get((model, version), ())
        inside = [reported for moment, reported in requests if window.start <= moment < window.end]
        return inside[-_MOST_LINKS:]


def _moment(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat()
