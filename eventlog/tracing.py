"""Trace how predictions are forwarded from the local log to Kafka."""

import time
from collections.abc import Sequence

from eventlog.events import PredictionEvent
from eventlog.log import Record
from telemetry.tracing import Attributes, Tracing, is_sampled


class ForwardTraces:
    """Add a span to the trace of every sampled prediction that is forwarded."""

    def __init__(self, tracing: Tracing | None, topic: str) -> None:
        """`topic` is the topic of predictions; if `tracing` is None, no spans are created."""
        self._tracing = tracing
        self._topic = topic

    def sent(self, records: Sequence[Record], began: int) -> None:
        """Add spans from `began` (nanoseconds since the Unix epoch) until now."""
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
