"""What is measured from time to time rather than counted."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from service.telemetry.metrics import show_caches, show_disk
from service.telemetry.statistics import Statistics
from service.telemetry.triton import show


async def keep_gauging(
    log: Path,
    statistics: Statistics,
    cache_bytes: Callable[[], Mapping[tuple[str, str], int]],
    interval: float,
    *,
    triton: bool,
) -> None:
    """Measure for ever, every `interval` seconds.

    `cache_bytes` gives the size of every response cache, by model and version. `triton` shows
    the statistics under the names of Triton's metrics.
    """
    while True:
        with suppress(FileNotFoundError):
            usage = shutil.disk_usage(log)
            show_disk(usage.free, usage.total)
        show_caches(cache_bytes())
        if triton:
            show(statistics.everything())
        await asyncio.sleep(interval)
