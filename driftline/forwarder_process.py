"""The process of `driftline forward`, in a separate module so that `--help` imports no client."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from prometheus_client import start_http_server

from access.browser_guard import BrowserGuard
from access.errors import AccessError, UnknownHost
from access.ports import Address, require_free
from eventlog.backlog import Backlog
from eventlog.errors import NotAcknowledged
from eventlog.forwarder import Cursors, Forwarder
from eventlog.forwarder_metrics import CountedSink, ForwarderMetrics
from eventlog.kafka import KafkaSink
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.lag import ReaderLag, TrackedReader
from eventlog.segments import SegmentReader
from eventlog.settings import FORWARDER_PREFIX, ForwarderSettings, Home, from_environment
from eventlog.tracing import ForwardTraces
from telemetry import logs
from telemetry.tracing import Tracing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_STOP_TIMEOUT = 3  # seconds until a send in progress is aborted


def run_forwarder() -> None:
    """Forward the local log to Kafka until SIGTERM."""
    logs.configure("forwarder", from_environment(logs.LoggingSettings, logs.PREFIX))
    home = Home.from_environment()
    settings = from_environment(KafkaSettings, KAFKA_PREFIX)
    stopping = threading.Event()
    cursors = Cursors(home.cursors)
    exposition = _checked_settings()
    sink = KafkaSink(settings)
    progress = ReaderLag(time.time)
    backlog = Backlog(home.log)
    metrics = _metrics(exposition, progress, lambda: backlog.count(dict(cursors.positions)))
    counting_sink = CountedSink(sink, metrics)
    _stop_by_signal(stopping, lambda: counting_sink.sending)
    tracing = Tracing.configured("forwarder")
    forwarder = Forwarder(
        lambda at: TrackedReader(SegmentReader(home.log, at), progress),
        counting_sink,
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
    """Stop on SIGINT or SIGTERM; abort a send that Kafka does not acknowledge in time.

    After the next start, the forwarder sends unacknowledged events again.
    """

    def stop(*_: object) -> None:
        stopping.set()
        signal.alarm(_STOP_TIMEOUT)

    def give_up(*_: object) -> None:
        if sending():
            raise NotAcknowledged("stopped while Kafka did not acknowledge a batch")

    signal.signal(signal.SIGALRM, give_up)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _checked_settings() -> ForwarderSettings:
    """Return the metrics settings; raise SettingError if the port is not free."""
    settings = from_environment(ForwarderSettings, FORWARDER_PREFIX)
    if settings.metrics_port:
        port = f"{FORWARDER_PREFIX}METRICS_PORT"
        require_free([Address(settings.metrics_host, settings.metrics_port, port)])
    return settings


def _metrics(
    settings: ForwarderSettings, progress: ReaderLag, unacknowledged: Callable[[], int]
) -> ForwarderMetrics:
    """Create the metrics of the forwarder, and expose them if a port is set."""
    metrics = ForwarderMetrics(progress, unacknowledged)
    if settings.metrics_port:
        server, _ = start_http_server(
            settings.metrics_port, settings.metrics_host, metrics.registry
        )
        names = [socket.gethostname(), *settings.metrics_hosts.split(",")]
        guard = BrowserGuard(names, "DRIFTLINE_FORWARDER_METRICS_HOSTS")
        app = server.get_app()
        assert app is not None  # start_http_server has set it
        server.set_app(guarded(app, guard))
    return metrics


def guarded(app: "WSGIApplication", guard: BrowserGuard) -> "WSGIApplication":
    """Return a WSGI application that refuses requests from pages of other sites."""

    def checked(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        headers = [
            (name.removeprefix("HTTP_").replace("_", "-").lower().encode(), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        try:
            guard.check(environ["REQUEST_METHOD"].encode("latin-1"), headers)
        except AccessError as error:
            status = "421 Misdirected" if isinstance(error, UnknownHost) else "403 Forbidden"
            start_response(status, [("content-type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]
        return app(environ, start_response)

    return checked


def _failed(error: NotAcknowledged, pause: float) -> None:
    click.echo(f"driftline: {error}; retry in {pause:.1f} s", err=True)
