"""A service whose workers cannot start ends with the reason."""

import os
from pathlib import Path

import pytest

from eventlog.errors import LogUnavailable
from service.crashes.worker_starts import (
    MOST_FAILURES,
    WorkerStarts,
    report_failed_start,
    report_start,
)

ENDED = [1] * (MOST_FAILURES - 1)


def test_the_reason_of_the_last_failed_start_ends_the_service(tmp_path: Path) -> None:
    starts = WorkerStarts(tmp_path)
    assert {starts.record_exit(7, status) for status in ENDED} == {""}
    report_failed_start(tmp_path, LogUnavailable("the disk is full"))
    assert starts.record_exit(os.getpid(), 3) == "the disk is full"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("a\nb"), 3, "ValueError: a b"),
        (None, 3, "exit status 3; see the log lines above"),
        (None, -11, "Segmentation fault; see the log lines above"),
    ],
)
def test_the_reason_of_a_failed_start_is_its_last_error(
    tmp_path: Path, error: Exception | None, status: int, reason: str
) -> None:
    starts = WorkerStarts(tmp_path)
    for one in ENDED:
        starts.record_exit(7, one)
    if error is not None:
        report_failed_start(tmp_path, error)
    assert starts.record_exit(os.getpid(), status) == reason


def test_a_started_worker_resets_the_count_of_failed_starts(tmp_path: Path) -> None:
    starts = WorkerStarts(tmp_path)
    for _ in range(2):
        assert {starts.record_exit(7, status) for status in ENDED} == {""}
        report_start(tmp_path)
        assert starts.record_exit(os.getpid(), -9) == ""
    assert list(tmp_path.iterdir()) == []


def test_the_service_continues_as_long_as_a_worker_runs(tmp_path: Path) -> None:
    starts = WorkerStarts(tmp_path)
    report_start(tmp_path)
    assert {starts.record_exit(7, 1) for _ in range(3 * MOST_FAILURES)} == {""}
    starts.record_exit(os.getpid(), -9)
    for one in ENDED:
        starts.record_exit(7, one)
    assert starts.record_exit(7, 1) != ""
