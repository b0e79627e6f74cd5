"""Record the span of a request, with child spans for queue, run and append to the log.

The span starts at reception, so that its id is already in the event, in the reply and in the
messages to Kafka consumers. If the trace is not sampled, no span is recorded.
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
        """Record the time at which the request enters the queue."""
        self._queued = time.time_ns()

    def answered(self, call: Call, answer: InferenceResponse) -> None:
        """End the span, because the event is in the log."""
        now = time.time_ns()
        if answer.run.cached:
            self._span.child("cache hit", self._queued, now, {})  # includes the append to the log
        else:
            self._add_children(answer.run, now)
        self._span.end(now, _attributes(call, "ok", answer.prediction_id))
        self._ended = True

    def _add_children(self, run: RunResult, now: int) -> None:
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
        attributes = _attributes(call, outcome, call.prediction_id)
        self._span.end(time.time_ns(), attributes, error=outcome)


def _attributes(call: Call, outcome: Outcome, prediction_id: str) -> Attributes:
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
