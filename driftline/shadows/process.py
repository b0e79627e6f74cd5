"""The process of `driftline shadow run`; a separate module, so that `--help` does not import it."""

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from driftline.log_readers import open_reader
from driftline.shadows.answer_log import AnswerLog
from driftline.shadows.mirror import Answering, Mirror
from eventlog.errors import DriftlineError
from eventlog.log import Position, Reader
from eventlog.process_lock import ProcessLock
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from monitoring.settings import PREFIX, MonitorSettings
from registry.settings import open_history
from registry.shadow_report import ShadowReport, read_report, write_report
from registry.store import Registry
from telemetry import logs
from telemetry.backoff import Backoff
from telemetry.clock import now_us

_logger = logging.getLogger(__name__)

_PAUSE_S = 0.5  # seconds between checks of an idle log
_LONGEST_PAUSE_S = 30.0  # maximum number of seconds between attempts after failures
_REPORT_S = 2.0  # seconds between reports while the log is idle
_NICENESS = 10  # lower priority than the service


def run_shadows(most_lag_s: float) -> None:
    """Run shadows until SIGTERM."""
    logs.configure("shadow", from_environment(logs.LoggingSettings, logs.PREFIX))
    settings = from_environment(MonitorSettings, PREFIX)
    home = Home.from_environment()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with suppress(OSError):
        os.nice(_NICENESS)
    with ExitStack() as parts:
        lock = ProcessLock(home.lock("shadow"), "shadow process")
        parts.callback(lock.close)
        log = AnswerLog(home, from_environment(LogSettings, LOG_PREFIX))
        parts.callback(log.close)
        registry = Registry(home)

        def reader(at: Mapping[str, Position], since: int) -> Reader:
            return open_reader(home, settings, "shadows", since, at)

        def load(model: str, number: str) -> Answering:
            # Imports pandas and ONNX Runtime (200 MB), which are needed only if there is a shadow.
            from driftline.shadows.candidate import ShadowRun  # noqa: PLC0415

            return ShadowRun(registry.version(model, number))

        mirror = Mirror(
            open_history(home), reader, load, log,
            clock=now_us, most_lag_s=most_lag_s, report=read_report(home),
        )  # fmt: skip
        parts.callback(mirror.close)
        _run_until_stopped(stopping, mirror, home)


def _run_until_stopped(stopping: threading.Event, mirror: Mirror, home: Home) -> None:
    pauses, reported = Backoff(_PAUSE_S, _LONGEST_PAUSE_S), 0.0
    pause = 0.0
    while not stopping.wait(pause):
        try:
            busy = mirror.step()
            if busy or time.monotonic() - reported > _REPORT_S:
                _write(home, mirror.report)
                reported = time.monotonic()
        except DriftlineError as error:
            pause = pauses.next()
            _logger.warning("%s; retry in %.0f s", error, pause)
        else:
            pauses.reset()
            pause = 0.0 if busy else _PAUSE_S


def _write(home: Home, report: ShadowReport) -> None:
    try:
        write_report(home, report)
    except OSError as error:  # for example a full disk; the next report is complete again
        _logger.warning("the report of shadows cannot be written: %s", error)
