"""What is measured from time to time rather than counted."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

from service.models.tunable_version import Caches
from service.telemetry.metrics import show_caches, show_disk
from service.telemetry.statistics import Statistics
from service.telemetry.triton import show


async def keep_gauging(
    log: Path, statistics: Statistics, caches: Caches, interval: float, *, triton: bool
) -> None:
    """Measure for ever, every `interval` seconds.

    `triton` shows the statistics under the names of Triton's metrics.
    """
    while True:
        with suppress(FileNotFoundError):
            usage = shutil.disk_usage(log)
            show_disk(usage.free, usage.total)
        show_caches({names: cache.size for names, cache in caches.items()})
        if triton:
            show(statistics.everything())
        await asyncio.sleep(interval)
