"""With durability = disk, no callback precedes its fsync, and many callbacks share one."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from eventlog.errors import LogUnavailable
from eventlog.group_commit import GroupCommit
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings
from tests.eventlog.event_makers import append, read_all


class Disk:
    """fsync that waits to be let through."""

    def __init__(self) -> None:
        self.started = 0
        self.gate = threading.Semaphore(0)
        self.failure: OSError | None = None

    def sync(self) -> None:
        self.started += 1
        assert self.gate.acquire(timeout=180)
        if self.failure is not None:
            raise self.failure


def _sizes(folder: Path) -> dict[int, int]:
    """The bytes in each segment that has some, by inode."""
    found = [path.stat() for path in folder.glob("host-0/*.log")]
    return {status.st_ino: status.st_size for status in found if status.st_size}


async def _until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(180):
        while not holds():
            await asyncio.sleep(0.001)


async def test_callers_that_arrive_during_an_fsync_share_the_next_one() -> None:
    disk, notified = Disk(), []
    commit = GroupCommit(disk.sync)
    for n in range(3):
        commit.notify(lambda error, n=n: notified.append((n, error)))
    await _until(lambda: disk.started == 1)
    for n in range(3, 10):
        commit.notify(lambda error, n=n: notified.append((n, error)))
    assert notified == []
    disk.gate.release()
    await _until(lambda: disk.started == 2)
    assert notified == [(n, None) for n in range(3)]
    disk.gate.release()
    await _until(lambda: len(notified) == 10)
    assert disk.started == 2
    commit.close()


async def test_a_failed_fsync_is_reported_only_to_the_waiting_callers() -> None:
    disk = Disk()
    disk.failure = OSError(5, "Input/output error")
    errors: list[LogUnavailable | None] = []
    commit = GroupCommit(disk.sync)
    commit.notify(errors.append)
    commit.notify(errors.append)
    disk.gate.release()
    await _until(lambda: len(errors) == 2)
    assert all("Input/output error" in str(error) for error in errors)
    disk.failure = None
    commit.notify(errors.append)
    disk.gate.release()
    await _until(lambda: len(errors) == 3)
    assert errors[-1] is None
    commit.close()


async def test_every_event_reported_safe_was_fsynced_in_its_file_across_rolls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}  # bytes by inode, as of the last fsync
    real = os.fsync

    def watched(file: int) -> None:
        status = os.fstat(file)
        real(file)
        synced[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", watched)
    writer = SegmentWriter.claim(
        tmp_path, "host", LogSettings(durability="disk", segment_bytes=900)
    )
    safe: list[int] = []
    for _ in range(30):
        append(writer, 3)
        upto, written = writer.next_sequence, _sizes(tmp_path)

        def notified(
            error: LogUnavailable | None, upto: int = upto, written: dict[int, int] = written
        ) -> None:
            assert error is None
            if all(synced.get(file, 0) >= size for file, size in written.items()):
                safe.append(upto)

        writer.once_safe(notified)
        await asyncio.sleep(0)
    await _until(lambda: len(safe) == 30)
    writer.close()
    assert synced.items() >= _sizes(tmp_path).items()
    assert len(read_all(tmp_path)) == 90


def test_without_fsync_no_caller_waits(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    append(writer, 1)
    notified: list[LogUnavailable | None] = []
    writer.once_safe(notified.append)
    assert notified == [None]
