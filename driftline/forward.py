"""`driftline forward` and `driftline topics`: the road from the local log to Kafka."""

import signal
import threading
import time
from collections.abc import Callable

import click
from prometheus_client import start_http_server

from access.ports import Address, require_free
from eventlog.backlog import Backlog
from eventlog.errors import NotAcknowledged
from eventlog.forwarder import Cursors, Forwarder
from eventlog.forwarder_metrics import CountedSink, ForwarderMetrics, ForwarderSettings
from eventlog.kafka import KafkaSettings, KafkaSink, create_topics
from eventlog.lag import ReaderLag, TrackedReader
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from eventlog.tracing import ForwardTraces
from telemetry import logs
from telemetry.tracing import Tracing

_LAST_MOMENT = 3  # seconds


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [forward, topics]


@click.command()
def forward() -> None:
    """Bring the local log to Kafka until SIGTERM (DRIFTLINE_KAFKA_* says where); one per home.

    With DRIFTLINE_FORWARDER_METRICS_PORT it shows its metrics there.
    """
    logs.configure("forwarder", from_environment(logs.LoggingSettings, logs.PREFIX))
    home = Home.from_environment()
    settings = from_environment(KafkaSettings, "DRIFTLINE_KAFKA_")
    stopping = threading.Event()
    cursors = Cursors(home.cursors)
    shown = _checked_settings()
    sink = KafkaSink(settings)
    progress = ReaderLag(time.time)
    backlog = Backlog(home.log)
    metrics = _metrics(shown, progress, lambda: backlog.count(dict(cursors.positions)))
    counted = CountedSink(sink, metrics)
    _stop_by_signal(stopping, lambda: counted.sending)
    tracing = Tracing.configured("forwarder")
    forwarder = Forwarder(
        lambda at: TrackedReader(SegmentReader(home.log, at), progress),
        counted,
        cursors,
        settings,
        ForwardTraces(tracing, settings.predictions),
        dead_lettered=metrics.dead_letters.inc,
    )
    click.echo(f"driftline: forwarding {home.log} to {settings.bootstrap_servers}")
    forwarder.run(stopping.wait, _failed)
    sink.close()
    cursors.close()
    if tracing is not None:
        tracing.close()


def _stop_by_signal(stopping: threading.Event, sending: Callable[[], bool]) -> None:
    """Stop when told to: a batch on its way has a moment, a Kafka that does not answer no more.

    What was not acknowledged then is sent again by the next life.
    """

    def stop(*_: object) -> None:
        stopping.set()
        signal.alarm(_LAST_MOMENT)

    def give_up(*_: object) -> None:
        if sending():
            raise NotAcknowledged("told to stop while Kafka did not answer")

    signal.signal(signal.SIGALRM, give_up)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _checked_settings() -> ForwarderSettings:
    """Where metrics are shown; raises SettingError where nothing can listen there."""
    prefix = "DRIFTLINE_FORWARDER_"
    settings = from_environment(ForwarderSettings, prefix)
    if settings.metrics_port:
        require_free(
            [Address(settings.metrics_host, settings.metrics_port, f"{prefix}METRICS_PORT")]
        )
    return settings


def _metrics(
    settings: ForwarderSettings, progress: ReaderLag, unacknowledged: Callable[[], int]
) -> ForwarderMetrics:
    """The forwarder's metrics, shown where the settings say."""
    metrics = ForwarderMetrics(progress, unacknowledged)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    return metrics


@click.group()
def topics() -> None:
    """Manage the topics."""


@topics.command()
@click.option("--partitions", default=6, show_default=True, help="Of predictions and feedback.")
@click.option("--replicas", default=1, show_default=True, help="Copies of each; 3 in production.")
def create(partitions: int, replicas: int) -> None:
    """Create the topics that are not there yet, and say what differs about those that are."""
    settings = from_environment(KafkaSettings, "DRIFTLINE_KAFKA_")
    made = create_topics(settings, partitions=partitions, replicas=replicas)
    for topic in made.created:
        click.echo(f"created {topic}")
    for difference in made.differences:
        click.echo(difference)


def _failed(error: NotAcknowledged, pause: float) -> None:
    click.echo(f"driftline: {error}; trying again in {pause:.1f} s", err=True)
