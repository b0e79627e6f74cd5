"""The process behind `driftline monitor`: log, windows, status page and webhooks.

Apart from the command, so that its `--help` imports none of it.
"""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from access.authorizer import Authorizer
from access.connection_table import ConnectionLimits
from access.exposure import check_exposure, is_loopback
from access.keyfile import KeyFile
from access.oidc import configured_tokens, oidc_settings
from access.open_files import affordable_connections, allow_open_files
from access.ports import Address, require_free
from access.tls import Tls
from driftline.log_readers import open_reader
from eventlog.durable_files import close_to_others
from eventlog.kafka_reader import KafkaReader
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.lag import ReaderLag, TrackedReader
from eventlog.log import Reader
from eventlog.process_lock import ProcessLock
from eventlog.segments import SegmentReader
from eventlog.settings import Home, from_environment
from monitoring.baselines.announcement import recorder
from monitoring.baselines.files import BaselineFiles
from monitoring.consumer import Consumer, tune_garbage_collection
from monitoring.errors import DatabaseUnavailable
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.log_retention import PositionPublisher
from monitoring.rollouts.judge import RolloutJudge, judging
from monitoring.scoring.lag import ScoringLag
from monitoring.scoring.process import JobLimits, scoring_command
from monitoring.scoring.scorer_pool import ScorerPool
from monitoring.settings import PREFIX, MonitorSettings, database, listed, lock_file, retention
from monitoring.sharing.entries import EntryEncoder
from monitoring.sharing.handed import SharedChunks
from monitoring.sharing.handing import StreamPublisher
from monitoring.sharing.member import LEADING, Member
from monitoring.sharing.taking import SharedChunkReader
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.tracing import WindowTraces
from monitoring.web.app import app
from monitoring.web.approvals import ApprovalDesk
from monitoring.web.retrain_loops import RetrainLoops
from monitoring.web.server import serving
from monitoring.webhooks.approval_outbox import ApprovalOutbox
from monitoring.webhooks.delivery import Receiver, Sender, approval_receiver, sending
from monitoring.windows.policy_source import ReadableVersions, RegistryPolicies
from monitoring.windows.retention import DAY
from registry.gates.reports import open_reports
from registry.pending_approvals import PendingApprovals
from registry.settings import open_history
from registry.shadow_report import read_report
from registry.store import Registry
from telemetry import logs
from telemetry.backoff import Backoff
from telemetry.clock import now_us
from telemetry.tracing import Tracing

_logger = logging.getLogger(__name__)
_RECONNECT = 1.0  # seconds between attempts to use an unavailable database; doubled up to:
_LONGEST_RECONNECT = 8.0
_STABLE = 30.0  # seconds of work, after which the next failure is a new one


class Lags(NamedTuple):
    """How far the monitor is behind; shown by the page."""

    reading: ReaderLag
    scoring: ScoringLag


Work = Callable[
    [Consumer | Member, MonitorSettings, threading.Event, PositionPublisher | None], None
]


def run_monitor(given: dict[str, object], *, until_idle: bool, close: bool) -> None:
    """Monitor until SIGTERM, or until idle; `given` replaces settings of the environment."""
    logs.configure("monitor", from_environment(logs.LoggingSettings, logs.PREFIX))
    settings = from_environment(MonitorSettings, PREFIX)
    settings = msgspec.structs.replace(settings, **given)
    home = Home.from_environment()
    tls = _check(home, settings)
    tune_garbage_collection()
    lock = lock_file(home)
    with nullcontext() if lock is None else ProcessLock(lock, "monitor"):
        require_free([Address(settings.host, settings.port, f"--port or {PREFIX}PORT")])
        _monitor(home, settings, tls, partial(_drain, close=close) if until_idle else _follow)


def _monitor(home: Home, settings: MonitorSettings, tls: Tls | None, work: Work) -> None:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if settings.source == "kafka":
        home.consumed.unlink(missing_ok=True)  # a reader of topics blocks no segment from deletion
    with ExitStack() as parts:
        lags = _show(parts, home, settings, tls)
        if work is _follow:
            parts.enter_context(judging(partial(_judge, home, settings)))
        pauses, began = Backoff(_RECONNECT, _LONGEST_RECONNECT), time.monotonic()
        while not _watched(home, settings, lags, stopping, work):
            if time.monotonic() - began > _STABLE:
                pauses.reset()
            stopping.wait(pauses.next())
            began = time.monotonic()


def _watched(
    home: Home,
    settings: MonitorSettings,
    lags: Lags,
    stopping: threading.Event,
    work: Work,
) -> bool:
    """Monitor until the stop event; return False if the database became unavailable.

    The next attempt continues from the committed state.
    """
    with ExitStack() as parts:
        try:
            loop = _start(parts, home, settings, lags)
            announcing = None
            if isinstance(loop, Consumer) and settings.source == "segments":
                announcing = PositionPublisher(home.consumed, loop.positions)
            work(loop, settings, stopping, announcing)
        except DatabaseUnavailable as error:
            _logger.warning("%s; trying again", error)
            return stopping.is_set()
    return True


def _check(home: Home, settings: MonitorSettings) -> Tls | None:
    """Return the certificates of the page; raise SettingError for an exposed page without keys."""
    tls = Tls.of(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, PREFIX)
    check_exposure(
        settings.host,
        PREFIX,
        credentials=KeyFile.of(home).require() is not None
        or bool(settings.tls_client_ca)
        or oidc_settings() is not None,
        allow_anonymous=settings.allow_anonymous,
    )
    close_to_others(home.root)
    Receiver.configured(settings)  # one that no webhook could reach ends the command
    approval_receiver(settings)
    return tls


def _hosts(settings: MonitorSettings) -> list[str]:
    """Return the names of the page: those of the settings, and this machine's."""
    stated = urlsplit(settings.page_url).hostname or ""
    return [*listed(settings.page_hosts), stated, settings.host, socket.gethostname()]


def _authorizer(home: Home, settings: MonitorSettings) -> Authorizer:
    shown = bool(settings.tls_client_ca)  # a certificate, by every caller
    may = is_loopback(settings.host) or settings.allow_anonymous or shown
    return Authorizer(KeyFile.of(home), open_without_keys=may, tokens=configured_tokens())


def _show(parts: ExitStack, home: Home, settings: MonitorSettings, tls: Tls | None) -> Lags:
    """Serve the status page for the life of the process, also while the database is lost."""
    lags, where = Lags(ReaderLag(time.time), ScoringLag()), database(home)
    Database(where).close()  # a mistaken address ends the command
    history = open_history(home)
    pending = PendingApprovals(history)
    if (receiver := approval_receiver(settings)) is not None:
        outbox = ApprovalOutbox(home.approval_webhooks, pending, settings.page)
        parts.enter_context(sending(lambda: Sender(outbox, receiver)))
    application = app(
        lambda: Store(where),
        home.reports,
        catalogue=Registry(home),
        hosts=_hosts(settings),
        authorizer=_authorizer(home, settings),
        progress=lags.reading,
        scoring=lags.scoring,
        baselines=BaselineFiles(home.baselines),
        desk=ApprovalDesk(history, open_reports(home), pending),
        loops=RetrainLoops(history, int(settings.answer_within_days * DAY)),
        shadows=partial(read_report, home),
        comparisons=home.comparisons,
    )
    limits = ConnectionLimits(
        affordable_connections(settings.max_connections, ports=1, allowed=allow_open_files()),
        settings.client_timeout_s,
    )
    parts.enter_context(serving(application, settings.host, settings.port, tls, limits))
    return lags


def _start(
    parts: ExitStack, home: Home, settings: MonitorSettings, lags: Lags
) -> Consumer | Member:
    """Start the only monitor of a database, or one of several that share the topics."""
    where = database(home)
    store = Database(where, reconnects=False)
    parts.callback(store.close)
    if settings.source == "kafka" and isinstance(where, str):
        return _member(parts, home, settings, lags, store)
    if not store.try_lock(LEADING):
        raise DatabaseUnavailable("another monitor holds this database")

    def reader(state: ConsumerState) -> tuple[Reader, Callable[[], None]]:
        return _reader(home, settings, state), _nothing

    return _lead(parts, home, settings, lags, store, reader)


def _member(
    parts: ExitStack,
    home: Home,
    settings: MonitorSettings,
    lags: Lags,
    store: Database,
) -> Member:
    handed = SharedChunks(store)
    handing = StreamPublisher(
        handed, EntryEncoder(ReadableVersions(Registry(home)).version), lags.reading.note
    )
    kafka = from_environment(KafkaSettings, KAFKA_PREFIX)
    part = KafkaReader(kafka, settings.group, handing.positions, settings.patience, handing.claim)
    parts.callback(part.close)

    def reader(state: ConsumerState) -> tuple[Reader, Callable[[], None]]:
        everything = SharedChunkReader(handed, state.positions, settings.patience)
        return everything, everything.commit

    return Member(store, handing, part, lambda: _lead(parts, home, settings, lags, store, reader))


def _lead(  # noqa: PLR0913, PLR0917 - what a consumer is made of
    parts: ExitStack,
    home: Home,
    settings: MonitorSettings,
    lags: Lags,
    store: Database,
    reader_for: Callable[[ConsumerState], tuple[Reader, Callable[[], None]]],
) -> Consumer:
    """Create the consumer that ingests and decides; one monitor at a time runs it."""
    journal = Journal(store)
    registry = Registry(home)
    following = RegistryPolicies(registry)
    state = ConsumerState(
        journal,
        ReadableVersions(registry).version,
        following.timeline,
        retention(),
        following.baselines,
    )
    reader, taken = reader_for(state)
    reader = TrackedReader(reader, lags.reading)
    parts.callback(reader.close)
    receiver = Receiver.configured(settings)
    if receiver is not None:
        parts.enter_context(sending(lambda: Sender(Store(database(home)), receiver)))
    scorer = ScorerPool(
        scoring_command(home.reports),
        scorers=settings.scorers,
        limits=JobLimits(settings.scoring_timeout, settings.scoring_memory),
    )
    parts.callback(scorer.close)
    evaluation = Evaluation(journal, state, page=settings.page, clock=now_us)
    tracing = Tracing.configured("monitor")
    if tracing is not None:
        parts.callback(tracing.close)
    return Consumer(
        journal,
        state,
        reader,
        scorer,
        evaluation,
        traces=WindowTraces(tracing),
        before_commit=taken,
        changed_policies=following.changed,
        most_waiting=settings.waiting_bytes,
        baselines=BaselineFiles(home.baselines),
        announce=recorder(registry),
        scoring_lag=lags.scoring,
    )


def _reader(home: Home, settings: MonitorSettings, state: ConsumerState) -> Reader:
    if settings.source == "segments":
        return SegmentReader(home.log, state.positions)
    kafka = from_environment(KafkaSettings, KAFKA_PREFIX)
    return KafkaReader(kafka, settings.group, state.positions, settings.patience)


def _judge(home: Home, settings: MonitorSettings) -> RolloutJudge:
    """Create what judges rollouts, with a reader of its own."""
    registry = Registry(home)

    def reader(since: int) -> Reader:
        return open_reader(home, settings, "rollouts", since, {})

    def label(model: str, number: str) -> str:
        return registry.version(model, number).manifest.prediction.label

    return RolloutJudge(open_history(home), reader, label)


def _nothing() -> None:
    """Do nothing after a step: segments need no commit of shared chunks."""


def _follow(
    consumer: Consumer | Member,
    settings: MonitorSettings,
    stopping: threading.Event,
    announcing: PositionPublisher | None,
) -> None:
    wait = announcing.between(stopping.wait) if announcing else stopping.wait
    consumer.run(wait, settings.poll_records, settings.idle_pause)


def _drain(
    consumer: Consumer | Member,
    settings: MonitorSettings,
    stopping: threading.Event,
    announcing: PositionPublisher | None,
    *,
    close: bool,
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
            break
    if announcing:
        announcing.now()
