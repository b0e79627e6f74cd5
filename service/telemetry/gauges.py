"""Gauges that are sampled periodically."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from service.telemetry.metrics import set_cache_bytes, set_disk_space
from service.telemetry.statistics import Statistics
from service.telemetry.triton import export


async def update_gauges_periodically(
    log: Path,
    statistics: Statistics,
    cache_bytes: Callable[[], Mapping[tuple[str, str], int]],
    interval: float,
    *,
    triton: bool,
) -> None:
    """Update the gauges forever, every `interval` seconds.

    `cache_bytes` returns the size of every response cache, by model and version. With `triton`, the
    statistics are also exported with the names of Triton's metrics.
    """
    while True:
        with suppress(OSError):
            usage = shutil.disk_usage(log)
            set_disk_space(usage.free, usage.total)
        set_cache_bytes(cache_bytes())
        if triton:
            export(statistics.snapshots())
        await asyncio.sleep(interval)
