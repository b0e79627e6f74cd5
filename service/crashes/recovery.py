"""After a worker's death, log a failed event for each request that was in flight.

A request has its prediction id before it runs. Recovery writes events only for ids that are not in
the log. So each request has exactly one event, whether the worker died before, during or after its
append, and even if the recovery itself is killed.
"""

import faulthandler
import logging
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventlog.errors import LogUnavailable
from eventlog.events import PredictionEvent, Protocol
from eventlog.follower import Follower
from eventlog.log import Appender, Position
from eventlog.shards import shard_of
from eventlog.stamps import Stamps
from service.crashes.run_record import FAULT, Crash, RunInFlight, read_crash

_CHUNK = 1000  # records read at once
_FAULT = re.compile(r"Fatal Python error: (.+)")
_THREAD = re.compile(r"Current thread 0x([0-9a-f]+)")

_logger = logging.getLogger(__name__)


class Death(msgspec.Struct, frozen=True):
    """The cause of a worker's death, and the versions that may have caused it."""

    reason: str
    suspects: list[tuple[str, str]]  # (model, number); one item if the faulting thread is known


def recover(
    folder: Path,
    log: Appender,
    exit_reason: Callable[[int], str],
    count: Callable[[str, str, Protocol], None] = lambda _model, _number, _protocol: None,
) -> Death | None:
    """Log the requests that were in flight when the source's previous worker died.

    Returns None if the worker stopped normally, or if the reason of its death is unknown or is a
    signal that no model causes. `exit_reason` returns why a process ended, "" if unknown. `count`
    is called with model, number and protocol of each logged event.
    """
    crash = read_crash(folder)
    if crash is None:
        return None
    signal = _FAULT.search(crash.fault)
    reason = signal[1] if signal else exit_reason(crash.pid)
    text = f"the worker process ended during the run ({reason or 'killed'})"
    events = _missing_events(folder, log, crash, text)
    try:
        log.append(events)
    except LogUnavailable as error:
        _logger.error("%d failed requests are not in the log: %s", len(events), error)  # noqa: TRY400
    else:
        for event in events:
            count(event.model, event.version, event.protocol)
    for run in crash.runs:
        _report(crash, run, reason or "killed")
    return Death(reason, _suspects(crash)) if reason else None


def record_faults(folder: Path) -> None:
    """At a fatal signal, write the stacks of all threads to the source's file `fault`."""
    file = (folder / FAULT).open("w")  # stays open while the process runs
    faulthandler.enable(file, all_threads=True)


def _missing_events(
    folder: Path, log: Appender, crash: Crash, reason: str
) -> list[PredictionEvent]:
    requests = [(run.version, request) for run in crash.runs for request in run.requests]
    if not requests:
        return []
    first = min(run.sequence for run in crash.runs if run.requests)
    logged = _ids_after(folder, Position(crash.epoch, first))
    missing = [
        (version, request) for version, request in requests if request.prediction_id not in logged
    ]
    stamps = Stamps(log)
    return [
        PredictionEvent(
            source=log.source,
            epoch=log.epoch,
            sequence=stamp.sequence,
            shard=stamp.shard,
            number=stamp.number,
            time=request.received if request.event_time is None else request.event_time,
            received=request.received,
            prediction_id=request.prediction_id,
            model=version.model,
            protocol=request.protocol,
            outcome="failed",
            payload="dropped",
            version=version.number,
            digest=version.digest,
            alias=request.alias,
            revision=request.revision,
            reason=reason,
            request_id=request.request_id,
            rows=request.rows,
            traceparent=request.traceparent,
            rollout=request.rollout,
            arm=request.arm,
            routing_key=request.routing_key,
            load_test=request.load_test,
        )
        for version, request in missing
        for stamp in [stamps.take(shard_of(version.model))]
    ]


def _ids_after(folder: Path, start: Position) -> set[str]:
    """Return the prediction ids of a source's events, starting at a position."""
    follower, ids = Follower(folder, start), set()
    while records := follower.peek(_CHUNK):
        ids |= {
            record.event.prediction_id
            for record in records
            if hasattr(record.event, "prediction_id")
        }
        follower.drop(len(records))
    follower.close()
    return ids


def _report(crash: Crash, run: RunInFlight, reason: str) -> None:
    ids = ", ".join(request.prediction_id for request in run.requests[:10])
    more = f" and {len(run.requests) - 10} more" if len(run.requests) > 10 else ""
    state = f"ran {len(run.requests)} requests: {ids}{more}" if run.requests else "was loaded"
    _logger.error(
        "worker %d died (%s) while version %s of %s %s",
        crash.pid,
        reason,
        run.version.number,
        run.version.model,
        state,
        extra={"model": run.version.model, "version": run.version.number},
    )


def _suspects(crash: Crash) -> list[tuple[str, str]]:
    """Return the version whose thread faulted; if it is unknown, all versions in flight."""
    thread = _THREAD.search(crash.fault)
    faulted = int(thread[1], 16) if thread else -1
    blamed = [run for run in crash.runs if run.thread == faulted] or crash.runs
    return sorted({(run.version.model, run.version.number) for run in blamed})
