"""Record the span of a request, with queue, run and log append as its children.

The span begins at receipt, so that the event, the reply and all Kafka consumers have it as their
parent. An unsampled request costs one context only.
"""

import time

from eventlog.events import Outcome
from service.batching.job import RunResult
from service.call import Call, InferenceResponse
from telemetry.tracing import Attributes, Span, Tracing

_US = 1_000  # nanoseconds


class RequestSpan:
    """The span of one request."""

    __slots__ = ("_ended", "_queued", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._queued = 0
        self._ended = False

    @classmethod
    def begin(cls, tracing: Tracing, parent: str) -> "tuple[str, RequestSpan | None]":
        """Return the request's traceparent, and its span if the trace is sampled."""
        span = tracing.begin("infer", "server", time.time_ns(), parent)
        if span.recorded:
            return span.traceparent, cls(span)
        return parent, None

    def queued(self) -> None:
        """Mark the time at which the request enters the queue."""
        self._queued = time.time_ns()

    def answered(self, call: Call, answer: InferenceResponse) -> None:
        """End the span: the event is in the log."""
        now = time.time_ns()
        if answer.run.cached:
            self._span.child("cache hit", self._queued, now, {})  # with its append to the log
        else:
            self._ran(answer.run, now)
        self._span.end(now, _about(call, "ok", answer.prediction_id))
        self._ended = True

    def _ran(self, run: RunResult, now: int) -> None:
        started = self._queued + run.queue_us * _US
        ended = started + run.run_us * _US
        batch: Attributes = {
            "driftline.batch.id": run.batch_id,
            "driftline.batch.rows": run.batch_rows,
            "driftline.batch.offset": run.batch_offset,
        }
        self._span.child("queue", self._queued, started, {})
        self._span.child("run", started, ended, batch)
        self._span.child("log append", min(ended, now), now, {})

    def unanswered(self, call: Call, outcome: Outcome) -> None:
        """End the span of a request that failed or was cancelled."""
        if self._ended:
            return
        self._ended = True
        self._span.end(time.time_ns(), _about(call, outcome, call.prediction_id), error=outcome)


def _about(call: Call, outcome: Outcome, prediction_id: str) -> Attributes:
    attributes: Attributes = {
        "driftline.protocol": call.protocol,
        "driftline.model": call.version.model if call.version else "",
        "driftline.version": call.version.number if call.version else "",
        "driftline.alias": call.alias,
        "driftline.outcome": outcome,
        "driftline.prediction.id": prediction_id,
        "driftline.rows": call.inputs.rows if call.inputs else 0,
    }
    return {name: value for name, value in attributes.items() if value != ""}
