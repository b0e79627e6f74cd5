"""The part of a request's trace between the local log and Kafka."""

import time
from collections.abc import Sequence

from eventlog.events import PredictionEvent
from eventlog.log import Record
from telemetry.tracing import Attributes, Tracing, is_sampled


class ForwardTraces:
    """Adds a span to the trace of every forwarded prediction that is sampled."""

    def __init__(self, tracing: Tracing | None, topic: str) -> None:
        """`topic` is where predictions go."""
        self._tracing = tracing
        self._topic = topic

    def sent(self, records: Sequence[Record], began: int) -> None:
        """Record spans: read at `began` (nanoseconds since the epoch), acknowledged now."""
        if self._tracing is None:
            return
        now = time.time_ns()
        about: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._topic,
            "messaging.batch.message_count": len(records),
        }
        for record in records:
            event = record.event
            if isinstance(event, PredictionEvent) and is_sampled(event.traceparent):
                span = self._tracing.begin("send", "producer", began, event.traceparent)
                span.end(now, {**about, "driftline.prediction.id": event.prediction_id})
