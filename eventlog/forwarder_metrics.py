"""Declare every metric of the forwarder."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from eventlog.errors import NotAcknowledged, Refused
from eventlog.forwarder import Sink
from eventlog.kafka import KafkaMessage
from eventlog.lag import ReaderLag


class ForwarderMetrics:
    """The metrics of one forwarder."""

    def __init__(self, progress: ReaderLag, unacknowledged: Callable[[], int]) -> None:
        """Register the metrics; `unacknowledged` returns the number of records to forward."""
        self.registry = CollectorRegistry()
        lag = Gauge(
            "driftline_forwarder_lag_seconds",
            "Age of the oldest event that Kafka has not acknowledged; 0 if there is none.",
            registry=self.registry,
        )
        lag.set_function(lambda: progress.lag)
        polled = Gauge(
            "driftline_forwarder_last_poll_timestamp_seconds",
            "When the forwarder last polled for events.",
            registry=self.registry,
        )
        polled.set_function(lambda: progress.polled)
        backlog = Gauge(
            "driftline_forwarder_backlog_records",
            "Records of the local log that Kafka has not acknowledged.",
            registry=self.registry,
        )
        backlog.set_function(unacknowledged)
        self.in_flight = Gauge(
            "driftline_forwarder_in_flight_records",
            "Records sent to Kafka that are not acknowledged yet.",
            registry=self.registry,
        )
        self.acknowledged = Counter(
            "driftline_forwarder_acknowledged_records_total",
            "Records that Kafka acknowledged.",
            registry=self.registry,
        )
        self.last = Gauge(
            "driftline_forwarder_last_acknowledged_timestamp_seconds",
            "When Kafka last acknowledged records, 0 before the first.",
            registry=self.registry,
        )
        self.errors = Counter(
            "driftline_forwarder_errors_total",
            "Batches that Kafka did not acknowledge in time; each is sent again.",
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "driftline_forwarder_dead_letters_total",
            "Records that could not be forwarded and are stored as dead letters.",
            registry=self.registry,
        )


class CountedSink:
    """Count the acknowledgements and failures of a sink."""

    def __init__(self, sink: Sink, metrics: ForwarderMetrics) -> None:
        self._sink = sink
        self._metrics = metrics
        self.sending = False

    def send(self, batch: Sequence[KafkaMessage]) -> None:
        """Send the batch and count the outcome; raises the errors of `Sink.send`."""
        self.sending = True
        self._metrics.in_flight.set(len(batch))
        try:
            self._sink.send(batch)
        except NotAcknowledged:
            self._metrics.errors.inc()
            raise
        except Refused as error:
            failed = len(error.refusals) + len(error.unacknowledged)
            self._metrics.acknowledged.inc(len(batch) - failed)
            raise
        finally:
            self.sending = False
            self._metrics.in_flight.set(0)
        self._metrics.acknowledged.inc(len(batch))
        self._metrics.last.set_to_current_time()

    def topics(self) -> Mapping[str, str]:
        """Delegate to the sink."""
        return self._sink.topics()
