"""The process of `driftline monitor`: log, windows, status page and webhooks.

This module is separate from the command, so that `--help` does not import it.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, nullcontext
from functools import partial

import msgspec

from access.ports import Address, require_free
from access.tls import Tls
from driftline.log_readers import open_reader
from driftline.monitor_page import LiveFigures, start_page
from driftline.start_checks import check_monitor
from eventlog.division import Division
from eventlog.durable_files import close_to_others
from eventlog.errors import SettingError
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.lag import ReaderLag, TrackedReader
from eventlog.log import Positions, Reader
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
from monitoring.partitions.group import PartitionGroup, TrackedPart, lock_of
from monitoring.partitions.repartition import layout
from monitoring.partitions.shared import PartScorer, SharedChanges, SharedScorer
from monitoring.retrain.scheduled_requests import ScheduledRequests
from monitoring.rollouts.follower import RolloutJudge, rollout_judge_thread
from monitoring.scoring.lag import ScoringLag
from monitoring.scoring.process import JobLimits, scoring_command
from monitoring.scoring.queue import Scorer
from monitoring.scoring.scorer_pool import ScorerPool
from monitoring.settings import PREFIX, MonitorSettings, database_address, lock_file, retention
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from monitoring.storage.sole_outbox import SoleOutbox
from monitoring.storage.store import Store
from monitoring.tracing import WindowTraces
from monitoring.webhooks.delivery import (
    OutboxPart,
    Receiver,
    Sender,
    alarm_receiver,
    is_notice,
    sender_thread,
)
from monitoring.windows.policy_source import ReadableVersions, RegistryPolicies
from registry.outputs import label_output
from registry.settings import open_history
from registry.store import Registry
from telemetry import logs
from telemetry.backoff import Backoff
from telemetry.clock import DAY, now_us
from telemetry.tracing import Tracing

_logger = logging.getLogger(__name__)
_RECONNECT = 1.0  # seconds until the first retry after the database became unavailable
_LONGEST_RECONNECT = 8.0  # maximum number of seconds between retries, reached by doubling
_STABLE = 30.0  # seconds of monitoring after which the pause is reset


Work = Callable[
    [Consumer | PartitionGroup, MonitorSettings, threading.Event, PositionPublisher | None], None
]


def run_monitor(overrides: dict[str, object], *, until_idle: bool, close: bool) -> None:
    """Monitor until SIGTERM, or until idle; `overrides` replace settings of the environment."""
    logs.configure("monitor", from_environment(logs.LoggingSettings, logs.PREFIX))
    settings = from_environment(MonitorSettings, PREFIX)
    settings = msgspec.structs.replace(settings, **overrides)
    home = Home.from_environment()
    tls = check_monitor(home, settings)
    close_to_others(home.root)
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
        home.consumed.unlink(missing_ok=True)  # a monitor of topics does not need the segments
    with ExitStack() as parts:
        live = start_page(parts, home, settings, tls)
        if work is _follow:
            parts.enter_context(rollout_judge_thread(partial(_judge, home, settings, live)))
        pauses, began = Backoff(_RECONNECT, _LONGEST_RECONNECT), time.monotonic()
        while not _monitored(home, settings, live, stopping, work):
            if time.monotonic() - began > _STABLE:
                pauses.reset()
            stopping.wait(pauses.next())
            began = time.monotonic()


def _monitored(
    home: Home,
    settings: MonitorSettings,
    live: LiveFigures,
    stopping: threading.Event,
    work: Work,
) -> bool:
    """Monitor until `stopping` is set; return False if the database became unavailable.

    The next call continues from the committed state.
    """
    with ExitStack() as parts:
        try:
            loop = _start(parts, home, settings, live)
            announcing = None
            if isinstance(loop, Consumer) and settings.source == "segments":
                announcing = PositionPublisher(home.consumed, loop.positions)
            work(loop, settings, stopping, announcing)
        except DatabaseUnavailable as error:
            _logger.warning("%s; retrying", error)
            return stopping.is_set()
    return True


def _start(
    parts: ExitStack, home: Home, settings: MonitorSettings, live: LiveFigures
) -> Consumer | PartitionGroup:
    """Create a consumer of the whole log, or a group if several monitors share the topics."""
    address = database_address(home)
    store = Database(address, reconnects=False)
    parts.callback(store.close)
    factory = _MonitorFactory(parts, home, settings, live, store)
    if settings.source == "kafka" and isinstance(address, str):
        return factory.group()
    if not store.try_lock(lock_of(0)):
        raise DatabaseUnavailable("another monitor uses this database")
    if divided := layout(store):
        raise SettingError(
            f"{PREFIX}DATABASE contains the state of {divided} partitions of topics; expected "
            f"{PREFIX}SOURCE=kafka, or another database for segments"
        )
    return factory.consumer()


class _MonitorFactory:
    """Creates the parts of a monitor from its settings."""

    def __init__(
        self,
        parts: ExitStack,
        home: Home,
        settings: MonitorSettings,
        live: LiveFigures,
        store: Database,
    ) -> None:
        self._parts = parts
        self._home = home
        self._settings = settings
        self._live = live
        self._store = store
        self._registry = Registry(home)
        self._following = RegistryPolicies(self._registry)
        self._send_webhooks()
        scorer = ScorerPool(
            scoring_command(home.reports),
            scorers=settings.scorers,
            limits=JobLimits(settings.scoring_timeout, settings.scoring_memory),
        )
        parts.callback(scorer.close)
        self._scorer = scorer
        self._tracing = Tracing.configured("monitor")
        if self._tracing is not None:
            parts.callback(self._tracing.close)

    def consumer(self) -> Consumer:
        """Create the consumer of a whole log."""
        journal = Journal(self._store)
        state = self._state(journal, None)
        reading = self._live.reading
        reader = TrackedReader(
            _reader(self._home, self._settings, state.positions, reading), reading
        )
        self._parts.callback(reader.close)
        return self._consumer(
            journal,
            state,
            reader,
            self._scorer,
            self._following.changed,
            self._live.scoring.open(0),
        )

    def group(self) -> PartitionGroup:
        """Create the group that ingests the partitions assigned by the consumer group."""
        scorers, changes = SharedScorer(self._scorer), SharedChanges(self._following.changed)
        opened: dict[int, PartScorer] = {}

        def open_partition(division: Division, part: TrackedPart) -> Consumer:
            number = division.number
            journal = Journal(self._store, number)
            opened[number] = scorers.open()
            return self._consumer(
                journal,
                self._state(journal, division),
                part,
                opened[number],
                changes.open(number),
                self._live.scoring.open(number),
            )

        def close_partition(number: int) -> None:
            scorers.close(opened.pop(number))
            changes.close(number)
            self._live.scoring.close(number)

        group = PartitionGroup(
            self._store,
            open_partition,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            note=self._live.reading.note,
            close_partition=close_partition,
        )
        from eventlog.kafka_reader import KafkaReader  # noqa: PLC0415 - a separate library

        kafka = from_environment(KafkaSettings, KAFKA_PREFIX)
        reader = KafkaReader(
            kafka,
            self._settings.group,
            group.positions,
            self._settings.patience,
            claim=group.claim,
        )
        self._parts.callback(reader.close)
        self._live.reading.damaged = reader.damaged
        group.set_reader(reader)
        return group

    def _state(self, journal: Journal, division: Division | None) -> ConsumerState:
        return ConsumerState(
            journal,
            ReadableVersions(self._registry).version,
            self._following.timeline,
            retention(),
            self._following.baselines,
            division=division,
        )

    def _consumer(  # noqa: PLR0913, PLR0917 - one argument per part that differs for partitions
        self,
        journal: Journal,
        state: ConsumerState,
        reader: Reader,
        scorer: Scorer,
        changed: Callable[[], Collection[str]],
        lag: ScoringLag,
    ) -> Consumer:
        return Consumer(
            journal,
            state,
            reader,
            scorer,
            Evaluation(
                journal, state, page=self._settings.page, clock=now_us, notices=self._notices
            ),
            traces=WindowTraces(self._tracing),
            changed_policies=changed,
            most_waiting=self._settings.waiting_bytes,
            baselines=BaselineFiles(self._home.baselines),
            announce=recorder(self._registry),
            scoring_lag=lag,
            scheduled=self._schedules(journal, state).step,
        )

    def _schedules(self, journal: Journal, state: ConsumerState) -> ScheduledRequests:
        """Create the scheduler of retraining requests for the models that `state` owns."""
        return ScheduledRequests(
            journal,
            open_history(self._home),
            page=self._settings.page,
            answer_within=int(self._settings.answer_within_days * DAY),
            delivers=bool(self._settings.webhook_url),
            positions=lambda: state.positions,
            clock=now_us,
            owns=state.owns,
        )

    def _send_webhooks(self) -> None:
        """Send webhooks; of several monitors, only the monitor with the outbox's lock sends."""
        address, settings = database_address(self._home), self._settings
        if (receiver := Receiver.configured(settings)) is not None:
            requests = sender_thread(lambda: Sender(_outbox(address, notices=False), receiver))
            self._parts.enter_context(requests)
        notified = alarm_receiver(settings)
        self._notices = notified is not None
        if notified is not None:
            alarms = sender_thread(lambda: Sender(_outbox(address, notices=True), notified))
            self._parts.enter_context(alarms)


def _outbox(address: DatabaseAddress, *, notices: bool) -> OutboxPart:
    """Return the outbox of alarm notices, or the outbox of retraining requests."""
    duty = "notices" if notices else "webhooks"
    return OutboxPart(
        SoleOutbox(Store(address), duty), lambda message: is_notice(message) is notices
    )


def _reader(
    home: Home, settings: MonitorSettings, positions: Positions, reading: ReaderLag
) -> Reader:
    if settings.source == "segments":
        return SegmentReader(home.log, positions)
    from eventlog.kafka_reader import KafkaReader  # noqa: PLC0415 - a separate library

    kafka = from_environment(KafkaSettings, KAFKA_PREFIX)
    reader = KafkaReader(kafka, settings.group, positions, settings.patience)
    reading.damaged = reader.damaged
    return reader


def _judge(home: Home, settings: MonitorSettings, live: LiveFigures) -> RolloutJudge:
    """Create the judge of rollouts, with a separate reader of the log."""
    registry = Registry(home)

    def reader(since: int) -> Reader:
        return open_reader(home, settings, "rollouts", since, {})

    def label(model: str, number: str) -> str:
        return label_output(registry.version(model, number).manifest.prediction)

    return RolloutJudge(open_history(home), reader, label, publish=live.rollouts.replace)


def _follow(
    consumer: Consumer | PartitionGroup,
    settings: MonitorSettings,
    stopping: threading.Event,
    announcing: PositionPublisher | None,
) -> None:
    wait = announcing.with_publishing(stopping.wait) if announcing else stopping.wait
    consumer.run(wait, settings.poll_records, settings.idle_pause)


def _drain(
    consumer: Consumer | PartitionGroup,
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
    if isinstance(consumer, PartitionGroup):
        consumer.close()
    if announcing:
        announcing.publish()
