"""All metrics of the service.

BentoML serves them at /metrics, summed over the workers. PROMETHEUS_MULTIPROC_DIR must be set
before this module is imported; BentoML's supervisor sets it for every worker. Counts per request
and batch are buffered; `flush` makes them visible.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from eventlog.errors import DriftlineError
from eventlog.events import Outcome, Protocol
from registry.manifest import Version
from service.batching.job import Drop
from service.telemetry.allocated_values import install
from service.telemetry.buffered import BufferedCounter, BufferedHistogram

install()

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PARTS = (0.0001, 0.00025, *_SECONDS)  # buckets for queue and run, which are shorter than requests
_FLUSHING = 0.0005  # share of a core that flushing should not exceed
_LATEST = 10.0  # longest pause between flushes in seconds; Prometheus scrapes every 15 s by default
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # buckets for the rows of a batch

_REQUESTS = BufferedCounter(
    Counter(
        "driftline_requests_total",
        "Inference requests by outcome; model and version are empty if no version was resolved.",
        ["model", "version", "protocol", "outcome"],
    )
)
_LATENCY = BufferedHistogram(
    Histogram(
        "driftline_request_seconds",
        "Time from reception to reply of an answered inference request.",
        ["model", "version", "protocol"],
        buckets=_SECONDS,
    ),
    _SECONDS,
)
_BATCH_ROWS = BufferedHistogram(
    Histogram(
        "driftline_batch_rows",
        "Rows of a batch.",
        ["model", "version"],
        buckets=_ROWS,
    ),
    _ROWS,
)
_QUEUED = BufferedHistogram(
    Histogram(
        "driftline_queue_seconds",
        "Time that an answered request spent in the queue.",
        ["model", "version"],
        buckets=_PARTS,
    ),
    _PARTS,
)
_RUN = BufferedHistogram(
    Histogram(
        "driftline_run_seconds",
        "Duration of a batch's run.",
        ["model", "version"],
        buckets=_PARTS,
    ),
    _PARTS,
)
_QUEUE = Gauge(
    "driftline_queue_requests",
    "Queued requests at the time when the last batch was answered.",
    ["model", "version"],
    multiprocess_mode="livesum",
)
_DROPPED_REQUESTS = BufferedCounter(
    Counter(
        "driftline_requests_dropped_total",
        "Requests removed from the queue before they ran, because the caller cancelled "
        "(cancelled) or the deadline passed (expired).",
        ["model", "version", "reason"],
    )
)
_FALLBACKS = BufferedCounter(
    Counter(
        "driftline_rollout_fallbacks_total",
        "Requests of a rollout that the old version answered, because the new version was not "
        "ready or its queue was full.",
        ["model", "version", "reason"],
    )
)
_LOOKUPS = BufferedCounter(
    Counter(
        "driftline_cache_lookups_total",
        "Lookups in the response cache, by result: hit or miss.",
        ["model", "version", "result"],
    )
)
_CACHE = Gauge(
    "driftline_cache_bytes",
    "Bytes in the response caches of all workers.",
    ["model", "version"],
    multiprocess_mode="livesum",
)
_cached: set[tuple[str, str]] = set()  # current label values of _CACHE
_queued: dict[tuple[str, str], int] = {}  # values of _QUEUE that are not visible yet
_EVENTS = BufferedCounter(
    Counter("driftline_events_appended_total", "Events appended to the log.", ["type"])
)
_REFUSED = Counter(
    "driftline_refused_calls_total",
    "Calls refused because of a missing or invalid key (Unauthenticated), a missing scope "
    "(Forbidden), or a limit of the key (KeyLimitReached).",
    ["reason"],
)
_REFUSED_LABELS = Counter(
    "driftline_labels_refused_total",
    "Labels refused with 400, because they are invalid for every version of their model.",
)
_RESTARTS = Counter(
    "driftline_model_restarts_total",
    "Restarts of an isolated model's process.",
    ["model", "version"],
)
_CLOCK_DEPARTURES = Counter(
    "driftline_clock_departures_total",
    "Jumps of the system's clock by more than 5 seconds.",
)
_DROPPED = Counter(
    "driftline_events_dropped_total",
    "Events dropped because the disk was full and `when_full` is `drop`.",
)
_DISK_FREE = Gauge(
    "driftline_log_disk_free_bytes",
    "Free bytes on the disk of the event log.",
    multiprocess_mode="livemin",
)
_DISK_SIZE = Gauge(
    "driftline_log_disk_size_bytes",
    "Total bytes of the disk of the event log.",
    multiprocess_mode="livemin",
)
_LOADED = Gauge(
    "driftline_loaded_versions",
    "Loaded model versions; the minimum over all workers.",
    multiprocess_mode="livemin",
)


def count_request(
    version: Version | None, protocol: Protocol, outcome: Outcome, seconds: float
) -> None:
    """Count a finished inference request."""
    # The name of an unknown model is not a label value, because clients could create many of them.
    model, number = ("", "") if version is None else (version.model, version.number)
    _REQUESTS.inc((model, number, protocol, outcome))
    if outcome == "ok":
        _LATENCY.observe((model, number, protocol), seconds)


def count_lost(model: str, number: str, protocol: Protocol) -> None:
    """Count a request that was in flight when a worker died."""
    _REQUESTS.inc((model, number, protocol, "failed"))
    _EVENTS.inc(("prediction",))


def count_batch(version: Version, rows: int, queued: int) -> None:
    """Count an answered batch of `rows` rows; `queued` is the length of the queue."""
    names = (version.model, version.number)
    _BATCH_ROWS.observe(names, rows)
    _queued[names] = queued


def count_times(version: Version, queued_us: Iterable[int], run_us: int) -> None:
    """Observe a batch's run time and its requests' queue times, in microseconds."""
    names = (version.model, version.number)
    _RUN.observe(names, run_us / 1e6)
    for duration in queued_us:
        _QUEUED.observe(names, duration / 1e6)


def count_drop(version: Version, reason: Drop) -> None:
    """Count a request that left the queue without a run."""
    _DROPPED_REQUESTS.inc((version.model, version.number, reason))


def count_fallback(version: Version, reason: Literal["not ready", "queue full"]) -> None:
    """Count a request of a rollout that the old version, `version`, answers."""
    _FALLBACKS.inc((version.model, version.number, reason))


def count_lookup(version: Version, result: Literal["hit", "miss"]) -> None:
    """Count a lookup in the response cache."""
    _LOOKUPS.inc((version.model, version.number, result))


def set_cache_bytes(sizes: Mapping[tuple[str, str], int]) -> None:
    """Set the size of every cache by model and version; set removed caches to 0."""
    for names in _cached - sizes.keys():
        _CACHE.labels(*names).set(0)
    for names, size in sizes.items():
        _CACHE.labels(*names).set(size)
    _cached.clear()
    _cached.update(sizes)


def count_events(kind: str, number: int) -> None:
    """Count events appended to the log; `kind` is "prediction" or "feedback"."""
    _EVENTS.inc((kind,), number)


def count_refused(error: DriftlineError) -> None:
    """Count a call that authentication, authorization or a limit of its key has refused."""
    _REFUSED.labels(type(error).__name__).inc()


def count_refused_labels(labels: int) -> None:
    """Count labels that are invalid for every version of their model."""
    _REFUSED_LABELS.inc(labels)


def count_restart(version: Version) -> None:
    """Count a restart of an isolated model's process."""
    _RESTARTS.labels(version.model, version.number).inc()


def count_clock_departure() -> None:
    """Count a jump of the system's clock."""
    _CLOCK_DEPARTURES.inc()


def count_dropped(number: int) -> None:
    """Count events dropped because the disk is full."""
    _DROPPED.inc(number)


def set_disk_space(free: int, size: int) -> None:
    """Set the free and total bytes of the log's disk."""
    _DISK_FREE.set(free)
    _DISK_SIZE.set(size)


def set_loaded(number: int) -> None:
    """Set the number of versions that this worker has loaded."""
    _LOADED.set(number)


# All buffered metrics of this module.
_BUFFERED = [
    metric
    for metric in tuple(globals().values())
    if isinstance(metric, BufferedCounter | BufferedHistogram)
]


def flush() -> None:
    """Make all buffered counts visible."""
    for metric in _BUFFERED:
        metric.flush()
    while _queued:
        names, queued = _queued.popitem()
        _QUEUE.labels(*names).set(queued)


def pause_after(flush_s: float, shortest: float) -> float:
    """Return the pause before the next flush; it grows with the duration of a flush."""
    return min(max(shortest, flush_s / _FLUSHING), _LATEST)


async def flush_periodically(shortest: float) -> None:
    """Flush forever, with pauses of at least `shortest` seconds."""
    pause = shortest
    while True:
        await asyncio.sleep(pause)
        began = time.thread_time()
        flush()
        pause = pause_after(time.thread_time() - began, shortest)
