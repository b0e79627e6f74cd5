"""Trace the monitor: a span for each scored window, with links to requests in the window.

Traces do not affect results. Links are only in memory, so a restart loses open windows' links.
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

_MOST_REQUESTS = 2_000  # newest requests of a model version that a span can link to
_MOST_LINKS = 32  # maximum links of a span, to the window's newest requests


class WindowTraces:
    """Exports a span for each scored window, linked to its newest sampled requests."""

    def __init__(self, tracing: Tracing | None) -> None:
        """Without `tracing`, every method does nothing."""
        self._tracing = tracing
        # (model, version): event times and trace parents of its newest requests
        self._requests: dict[tuple[str, str], deque[tuple[int, str]]] = {}
        self._spans: dict[str, Span] = {}  # key of a scoring job: its span

    def ingested(self, record: Record) -> None:
        """Store the request of an ingested record for later links, if its trace is sampled."""
        if self._tracing is None:
            return
        event = record.event
        if isinstance(event, PredictionEvent) and event.version and is_sampled(event.traceparent):
            new = partial(deque[tuple[int, str]], maxlen=_MOST_REQUESTS)
            requests = self._requests.setdefault((event.model, event.version), new())
            requests.append((event.time, event.traceparent))

    def scheduled(self, key: str, model: str, version: str, window: Window) -> None:
        """Start the span of a window that is queued for scoring; `key` identifies the job."""
        if self._tracing is not None:
            links = self._links(model, version, window)
            self._spans[key] = self._tracing.begin(
                "score window", "consumer", time.time_ns(), links=links
            )

    def evaluated(self, key: str, result: Result) -> None:
        """End a job's span, with figures of the result as attributes."""
        span = self._spans.pop(key, None)
        if span is None:
            return
        attributes: Attributes = {
            "driftline.model": result.model,
            "driftline.version": result.version,
            "driftline.window.start": _iso(result.window.start),
            "driftline.window.end": _iso(result.window.end),
            "driftline.rows": result.rows,
            "driftline.labelled": result.labelled,
            "driftline.revision": result.revision,
        }
        span.end(time.time_ns(), attributes)

    def _links(self, model: str, version: str, window: Window) -> Sequence[str]:
        requests = self._requests.get((model, version), ())
        inside = [parent for moment, parent in requests if window.start <= moment < window.end]
        return inside[-_MOST_LINKS:]


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat()
