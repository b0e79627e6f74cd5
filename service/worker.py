"""Create the objects of a worker, start them in order and stop them in reverse order."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from functools import partial

from msgspec.structs import replace

from access.handshakes import count_handshakes
from eventlog.answer_counts import CountingWriter
from eventlog.heartbeats import Heartbeats
from eventlog.identity import writer_name
from eventlog.segments import end_earlier_sources
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from registry.errors import RegistryError
from registry.settings import is_shared, open_history
from registry.shared_workers import SharedReportPublisher
from registry.store import Registry
from registry.worker_reports import WorkerReport, WorkerReportPublisher
from service.auth.configuration import create_authorizer, create_browser_guard
from service.auth.id_secrets import id_secrets
from service.auth.key_limits import KeyLimits, Rates
from service.buffered_bytes import BufferedBytes
from service.call_factory import CallFactory
from service.crashes.quarantine import Quarantine
from service.crashes.recovery import record_faults, recover
from service.crashes.run_record import RunRecord
from service.crashes.worker_exits import take_exit
from service.grpc.server import GrpcServer
from service.grpc.servicer import Servicer
from service.heartbeats import HeadLog, beat_periodically, end_heartbeats
from service.log_presence import end_without_log
from service.log_retention import sweep_periodically
from service.memory_limit import limit_memory
from service.models.loaded_models import LoadedModels
from service.models.loader import VersionLoader
from service.models.repository import ModelRepository
from service.models.selection import SelectedModels
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.rest.dependencies import InferenceDependencies, RouteDependencies
from service.settings import PREFIX, Settings
from service.shared_listener import SharedListener, share_rest
from service.telemetry.gauges import update_gauges_periodically
from service.telemetry.metrics import (
    count_clock_departure,
    count_dropped,
    count_events,
    count_lost,
    count_refused,
    count_refused_labels,
    flush,
    flush_periodically,
    set_loaded,
)
from service.telemetry.statistics import Statistics
from telemetry.steady_clock import SteadyClock
from telemetry.tracing import Tracing

_logger = logging.getLogger(__name__)

_GAUGE_S = 1.0  # seconds between updates of the gauges
# Seconds after which the event loop must yield to a thread that has run a batch. With Python's
# default of 5 ms, a model with runs of 2 ms lost a sixth of its throughput during a flood of
# refused requests.
_SWITCH_S = 0.0005
# Number of new objects that starts a garbage collection. Requests leave no cyclic garbage, but
# requests in flight have more objects than Python's default of 700. So each batch started a
# collection, which took 6 % of a gRPC call.
_YOUNG_OBJECTS = 5_000
_FLUSH_S = 0.25  # shortest delay until /metrics of another worker includes this worker's counts


class Worker:
    """The objects of a worker process."""

    def __init__(self, settings: Settings, home: Home) -> None:
        """Claim a source of the log and open the registry; then call `start`."""
        limit_memory(settings.memory, f"{PREFIX}MEMORY")
        self._settings = settings
        self._home = home
        self._log_settings = from_environment(LogSettings, LOG_PREFIX)
        self.authorizer = create_authorizer(settings, home, count_refused)
        self._guard = create_browser_guard(settings, count_refused)
        host = socket.gethostname()
        name = writer_name(home.log, host)
        end_earlier_sources(home.log, host)
        self._writer = CountingWriter.claim(home.log, name, self._log_settings, count_dropped)
        keys = id_secrets(home, settings.id_secrets, f"{PREFIX}ID_SECRETS")
        ids = IdGenerator(keys=keys)
        clock = SteadyClock(on_departure=count_clock_departure)
        folder = home.log / self._writer.source
        registry = Registry(home)
        quarantine = Quarantine(home.root)
        death = recover(folder, self._writer, partial(take_exit, home.exits), count_lost)
        if death is not None:
            try:
                quarantine.add(death, time.time(), registry.revision())
            except (OSError, RegistryError) as error:  # this must not stop the start of the worker
                _logger.warning("cannot record the death of the previous worker: %s", error)
        record_faults(folder)
        self._heartbeats = Heartbeats(self._writer, clock)
        self._heads = HeadLog(registry, self._heartbeats, self._writer)
        self._runs = RunRecord(folder, self._writer)
        log = PredictionLog(self._writer, ids, now=clock, count=count_events)
        self._report_publisher = WorkerReportPublisher(home.workers)
        shared = SharedReportPublisher(open_history(home)) if is_shared() else None
        self._shared_publisher = shared
        self._statistics = Statistics()
        load = VersionLoader(settings, log, ids, self._statistics, self._runs)
        self._cache_bytes = load.cache_bytes
        self._models = models = LoadedModels(
            SelectedModels(registry, settings.models),
            load,
            set_loaded,
            self._publish_report,
            quarantine=quarantine,
        )
        repository = ModelRepository(registry, models)
        pipeline = Pipeline(
            models,
            log,
            count_failure=self._statistics.record_failure,
            may_try=lambda call: self.authorizer.holds("try", call.authorization, call.model),
        )
        self._tracing = Tracing.configured("service")
        new_call = CallFactory(
            settings.request_timeout_s,
            self._tracing,
            now=clock,
            event_time_ahead=settings.event_time_ahead_s * 1_000_000,
        )
        rates = Rates(
            requests=settings.max_key_requests_per_s,
            bytes=settings.max_key_bytes_per_s,
            rows=settings.max_key_rows_per_s,
            labels=settings.max_labels_per_s,
            running=settings.max_key_requests,
        )
        limits = KeyLimits(rates, count=count_refused)
        self.inference = InferenceDependencies(
            pipeline=pipeline,
            authorizer=self.authorizer,
            guard=self._guard,
            new_call=new_call,
            max_body_bytes=settings.max_body_bytes,
            buffered=BufferedBytes(settings.max_buffered_bytes),
            limits=limits,
            keep_alive_s=settings.keep_alive_s,
        )
        self.routes = RouteDependencies(
            limits=limits,
            models=models,
            repository=repository,
            statistics=self._statistics,
            log=log,
            authorizer=self.authorizer,
            ids=ids.predictions,
            max_body_bytes=settings.max_body_bytes,
            refuse_labels=self._refuse_labels,
            unverified_labels=settings.unverified_labels == "accept",
        )
        self._servicer = Servicer(
            pipeline=pipeline,
            models=models,
            repository=repository,
            statistics=self._statistics,
            new_call=partial(new_call, "grpc"),
            access=self.authorizer,
            limits=limits,
        )
        self._grpc: GrpcServer | None = None
        self._background: list[asyncio.Task[None]] = []

    def _refuse_labels(self, shard: str, labels: int) -> None:
        count_refused_labels(labels)
        self._heartbeats.refuse_labels(shard, labels)

    def _publish_report(self, report: WorkerReport) -> None:
        report = replace(report, models=self._settings.models)
        self._report_publisher.publish(report)
        if self._shared_publisher is not None:
            self._shared_publisher.publish(report)
        self._heads.follow(report.revision)

    async def start(self) -> None:
        """Load all versions, listen for gRPC, and start the periodic tasks."""
        await self._models.start()
        count_handshakes(asyncio.get_running_loop(), self._settings.client_timeout_s)
        share = None
        if self._settings.workers > 1:
            number = int(self._writer.source.rpartition("-")[2])
            share = partial(SharedListener.listen, "grpc", self._home, number)
            share_rest(self._home, number, self._settings.port)
        self._grpc = GrpcServer(
            self._servicer,
            self._settings,
            self.authorizer,
            self._guard,
            self.inference.buffered,
            share,
        )
        await self._grpc.start()
        for work in (
            self._models.follow(self._settings.poll_interval_s),
            flush_periodically(_FLUSH_S),
            update_gauges_periodically(
                self._home.log,
                self._statistics,
                self._cache_bytes,
                _GAUGE_S,
                triton=self._settings.triton_metrics,
            ),
            sweep_periodically(self._home, self._log_settings),
            beat_periodically(self._heartbeats, self._writer),
            self._heads.write(),
            end_without_log(self._writer, partial(signal.raise_signal, signal.SIGTERM)),
        ):
            self._background.append(asyncio.create_task(work))
        if self._shared_publisher is not None:
            self._background.append(asyncio.create_task(self._shared_publisher.repeat()))
        # Objects of libraries and models exist until the worker ends, so they are excluded from
        # garbage collection. Otherwise, a collection would block for 90 ms, once a second under
        # load.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        sys.setswitchinterval(_SWITCH_S)

    async def stop(self) -> None:
        """Answer accepted requests, then close the log."""
        for task in self._background:
            task.cancel()
        if self._grpc is not None:
            await self._grpc.stop()
        if self._tracing is not None:
            self._tracing.close()
        flush()
        self._models.close()
        self._report_publisher.close()
        if self._shared_publisher is not None:
            self._shared_publisher.close()
        self._runs.close()
        end_heartbeats(self._heartbeats)
        self._writer.close()
