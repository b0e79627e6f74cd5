"""Metric files on a full disk: allocated pages, and no lost values."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict

from service.telemetry import allocated_values
from service.telemetry.allocated_values import AllocatedDict
from tests.service.in_process import InProcessWorker


class Disk:
    """A disk that allocates blocks until it is full."""

    def __init__(self) -> None:
        self.full = False

    def allocate(self, descriptor: int, offset: int, size: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        _real_allocate(descriptor, offset, size)


_real_allocate = os.posix_fallocate


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "posix_fallocate", disk.allocate)
    return disk


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counter_1.db"


def _scraped(path: Path) -> dict[str, float]:
    reader: Any = MmapedDict
    found = reader.read_all_values_from_file(str(path))
    return {key: value for key, value, *_ in found}


def _value(values: Any, key: str) -> float:
    value: float = values.read_value(key)[0]
    return value


def _open(path: Path, now: list[float]) -> AllocatedDict:
    return AllocatedDict(str(path), lambda: now[0], size=4096)


def test_every_page_has_a_block(path: Path, disk: Disk, now: list[float]) -> None:
    values = _open(path, now)
    for number in range(300):
        values.write_value(f"metric {number}", float(number), 0.0)
    status = path.stat()
    assert status.st_blocks * 512 >= status.st_size > 4096
    assert _scraped(path) == {f"metric {number}": float(number) for number in range(300)}


def test_a_file_that_cannot_grow_continues_in_memory_and_returns_with_all_values(
    path: Path, disk: Disk, now: list[float]
) -> None:
    values = _open(path, now)
    values.write_value("early", 1.0, 0.0)
    disk.full = True
    for number in range(300):
        values.write_value(f"metric {number}", float(number), 0.0)
    values.write_value("early", 2.0, 0.0)
    assert path.stat().st_size == 4096
    assert _scraped(path)["early"] == 1.0
    assert _value(values, "early") == 2.0
    disk.full = False
    now[0] += 1.0
    values.write_value("early", 3.0, 0.0)
    expected = {"early": 3.0} | {f"metric {number}": float(number) for number in range(300)}
    assert _scraped(path) == expected


def test_a_worker_that_starts_on_a_full_disk_leaves_no_file_that_a_scrape_cannot_read(
    path: Path, disk: Disk, now: list[float]
) -> None:
    disk.full = True
    values = _open(path, now)
    values.write_value("first", 1.0, 0.0)
    assert not path.exists()
    disk.full = False
    now[0] += 1.0
    values.write_value("second", 2.0, 0.0)
    assert _scraped(path) == {"first": 1.0, "second": 2.0}
    values.close()


def test_the_service_stores_its_metrics_in_these_files() -> None:
    import service.telemetry.metrics  # noqa: F401, PLC0415  # installs it

    values: Any = sys.modules["prometheus_client.values"]
    assert values.MmapedDict is allocated_values.AllocatedDict


async def test_a_full_disk_delays_only_the_workers_report() -> None:
    reports: list[object] = []
    full = True

    def report(state: object) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        reports.append(state)

    worker = InProcessWorker(report=report)
    await worker.models.refresh()
    assert worker.models.ready
    full = False
    await worker.models.poll()
    assert len(reports) == 1
    await worker.models.poll()
    assert len(reports) == 1
