"""Workers' reports while the workers live."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.convergence import NotConverged, print_serving_workers, wait_for_workers
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.worker_reports import WorkerReport, WorkerReportPublisher, read_workers

REPORT = WorkerReport(3, {"tiny": {"champion": "2"}}, {"tiny": {"4": "it is damaged"}})


def test_a_worker_is_listed_before_its_first_change(tmp_path: Path) -> None:
    publisher = WorkerReportPublisher(tmp_path)
    assert read_workers(tmp_path) == [WorkerReport(-1)]
    publisher.publish(REPORT)
    assert read_workers(tmp_path) == [REPORT]
    publisher.close()
    assert read_workers(tmp_path) == []


def test_workers_without_the_model_are_not_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    other = WorkerReport(3, models="bus-*, team-a-*")
    print_serving_workers([REPORT, other], "tiny", "champion", "2")
    assert "1 of 1 workers serve version 2" in capsys.readouterr().out
    with pytest.raises(NotConverged):
        print_serving_workers([REPORT, other], "bus-1", "champion", "2")


def test_the_report_of_a_killed_worker_is_removed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from registry import worker_reports\n"
        "publisher = worker_reports.WorkerReportPublisher(Path(sys.argv[1])); "
        "print('here', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    assert len(read_workers(tmp_path)) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert read_workers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_waiting_ends_when_the_slowest_worker_has_applied_the_change(tmp_path: Path) -> None:
    home = Home(tmp_path)
    fast, slow = WorkerReportPublisher(home.workers), WorkerReportPublisher(home.workers)
    fast.publish(REPORT)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        slow.publish(REPORT)

    assert wait_for_workers(AllWorkers(home), 3, 60, sleep=sleep) == [REPORT, REPORT]
    assert len(pauses) == 1
    for publisher in (fast, slow):
        publisher.close()


def test_a_timeout_states_how_many_workers_are_behind(tmp_path: Path) -> None:
    publisher = WorkerReportPublisher(Home(tmp_path).workers)
    with pytest.raises(NotConverged, match="1 of 1 workers have not applied registry revision"):
        wait_for_workers(AllWorkers(Home(tmp_path)), 3, 0)
    publisher.close()


def test_a_version_that_a_worker_could_not_load_is_reported_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_serving_workers([REPORT, REPORT], "tiny", "champion", "2")
    assert capsys.readouterr().out == "2 of 2 workers serve version 2\n"
    with pytest.raises(NotConverged, match="0 of 1 workers serve version 4: it is damaged"):
        print_serving_workers([REPORT], "tiny", "champion", "4")
