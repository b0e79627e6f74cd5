"""`driftline monitor`: follow the log, keep watch, serve the page, send the webhooks."""

import gc
import signal
import threading
import time
from contextlib import ExitStack

import click
import msgspec

from access.authorizer import Authorizer
from access.exposure import check_exposure, is_loopback
from access.keyfile import KeyFile
from access.tls import Tls
from eventlog.kafka import KafkaSettings
from eventlog.kafka_reader import KafkaReader
from eventlog.log import Reader
from eventlog.progress import Progress, WatchedReader
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from monitoring.announcing import Announcing
from monitoring.conclusion import Conclusion
from monitoring.consumer import Consumer
from monitoring.scoring.process import ScoringProcess, scoring_command
from monitoring.settings import MonitorSettings, listed
from monitoring.state.database import Database
from monitoring.state.journal import Journal
from monitoring.state.store import Store
from monitoring.watching import Memory
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.webhooks.sender import Receiver, Sender, sending
from registry.store import Registry

_PREFIX = "DRIFTLINE_MONITOR_"


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [monitor]


@click.command()
@click.option("--host", help="Address of the page.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port of the page.  [default: 3100]")
@click.option(
    "--allow-anonymous",
    is_flag=True,
    default=None,
    help="Listen where other machines can reach though no key was made.",
)
@click.option("--until-idle", is_flag=True, help="End once the log is drained and scored.")
@click.option("--close", is_flag=True, help="With --until-idle: close the open windows, too.")
def monitor(until_idle: bool, close: bool, **options: str | int | None) -> None:  # noqa: FBT001  # click's
    """Watch the event log until SIGTERM (DRIFTLINE_MONITOR_* configures)."""
    settings = from_environment(MonitorSettings, _PREFIX)
    given = {name: value for name, value in options.items() if value is not None}
    settings = msgspec.structs.replace(settings, **given)
    home = Home.from_environment()
    tls = _check(home, settings)
    # Rows by the ten thousand make the collector look through them again and again for cycles
    # that they never form.
    gc.set_threshold(100_000, 50, 100)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with ExitStack() as parts:
        consumer = _start(parts, home, settings, tls)
        announcing = None
        if settings.source == "segments":
            announcing = Announcing(home.consumed, consumer.positions)
        else:
            home.consumed.unlink(missing_ok=True)  # who reads topics keeps no segment from deletion
        if until_idle:
            _drain(consumer, settings, stopping, close=close)
            if announcing:
                announcing.now()
        else:
            wait = announcing.between(stopping.wait) if announcing else stopping.wait
            consumer.run(wait, settings.poll_records, settings.idle_pause)


def _check(home: Home, settings: MonitorSettings) -> Tls | None:
    """The page's certificates; raises SettingError where strangers could reach the page."""
    tls = Tls.of(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, _PREFIX)
    check_exposure(
        settings.host,
        _PREFIX,
        credentials=KeyFile.of(home).read() is not None or bool(settings.tls_client_ca),
        allow_anonymous=settings.allow_anonymous,
    )
    return tls


def _authorizer(home: Home, settings: MonitorSettings) -> Authorizer:
    shown = bool(settings.tls_client_ca)  # a certificate, by every caller
    may = is_loopback(settings.host) or settings.allow_anonymous or shown
    return Authorizer(KeyFile.of(home), open_without_keys=may)


def _start(parts: ExitStack, home: Home, settings: MonitorSettings, tls: Tls | None) -> Consumer:
    registry, progress = Registry(home), Progress(time.time)
    application = app(
        lambda: Store(home.monitor),
        home.reports,
        catalogue=registry,
        hosts=listed(settings.page_hosts),
        authorizer=_authorizer(home, settings),
        progress=progress,
    )
    journal = Journal(Database(home.monitor))
    memory = Memory(journal, registry.version)
    reader = WatchedReader(_reader(home, settings, memory), progress)
    scorer = ScoringProcess(scoring_command(home.reports))
    parts.callback(journal.database.close)
    parts.callback(reader.close)
    parts.callback(scorer.close)
    receiver = Receiver.configured(settings)
    if receiver is not None:
        parts.enter_context(sending(lambda: Sender(Store(home.monitor), receiver)))
    parts.enter_context(serving(application, settings.host, settings.port, tls))
    conclusion = Conclusion(
        journal, memory, page=settings.page, clock=lambda: time.time_ns() // 1_000
    )
    return Consumer(journal, memory, reader, scorer, conclusion)


def _reader(home: Home, settings: MonitorSettings, memory: Memory) -> Reader:
    if settings.source == "segments":
        return SegmentReader(home.log, memory.positions)
    kafka = from_environment(KafkaSettings, "DRIFTLINE_KAFKA_")
    return KafkaReader(kafka, settings.group, memory.positions, settings.patience)


def _drain(
    consumer: Consumer, settings: MonitorSettings, stopping: threading.Event, *, close: bool
) -> None:
    while not stopping.is_set():
        if consumer.step(settings.poll_records):
            continue
        if consumer.scoring or not consumer.drained:
            stopping.wait(settings.idle_pause)
        elif close:
            consumer.close_all()
            close = False
        else:
            return
