"""Workers of several machines on one registry see each other's live reports."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from driftline.convergence import NotConverged, print_serving_workers, wait_for_workers
from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.errors import RegistryUnavailable
from registry.history.database import DatabaseAddress
from registry.history.store import History
from registry.shared_workers import SharedReportPublisher
from registry.worker_reports import WorkerReport
from tests.postgres_server import PostgresServer

REPORT = WorkerReport(3, {"tiny": {"champion": "2"}})


def test_reports_are_replaced_and_removed(where: DatabaseAddress) -> None:
    history = History(where)
    history.report_worker("a", "1")
    history.report_worker("b", "2")
    history.report_worker("a", "3")
    assert sorted(history.workers()) == ["2", "3"]
    history.remove_worker("a")
    assert history.workers() == ["2"]
    history.close()


def test_a_worker_that_stopped_reporting_is_not_counted(
    where: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(where)
    history.report_worker("a", "1")
    monkeypatch.setattr("registry.history.store.LIVE_S", -1)
    assert history.workers() == []
    monkeypatch.setattr("registry.history.store.LIVE_S", 15)
    monkeypatch.setattr("registry.history.store.EXPIRED_S", -1)
    history.report_worker("b", "2")
    assert history.workers() == []  # deleted
    history.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> Home:
    monkeypatch.setenv("DRIFTLINE_REGISTRY", postgres.schema())
    return Home(tmp_path)


async def _until(home: Home, revision: int) -> list[WorkerReport]:
    return await asyncio.to_thread(wait_for_workers, AllWorkers(home), revision, 180)


async def test_a_command_waits_for_workers_of_every_machine(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], postgres: PostgresServer
) -> None:
    histories = [History(os.environ["DRIFTLINE_REGISTRY"]) for _ in range(2)]
    publishers = [SharedReportPublisher(history) for history in histories]
    tasks = [asyncio.create_task(publisher.repeat()) for publisher in publishers]
    for publisher in publishers:
        publisher.publish(REPORT)
    reports: list[WorkerReport] = []
    while len(reports) < 2:
        reports = await _until(home, 3)
    assert {report.machine for report in reports} == {socket.gethostname()}
    print_serving_workers(reports, "tiny", "champion", "2")
    assert "2 of 2 workers serve version 2" in capsys.readouterr().out

    with pytest.raises(NotConverged, match=rf"2 of 2 workers .* on {socket.gethostname()};"):
        wait_for_workers(AllWorkers(home), 4, 0)
    for publisher in publishers:
        publisher.publish(WorkerReport(4))
    assert len(await _until(home, 4)) == 2
    for task in tasks:
        task.cancel()
    publishers[0].close()
    assert len(AllWorkers(home).read()) == 1
    for history in histories:
        history.close()


async def test_an_unavailable_database_is_an_error_only_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTRY", "postgresql://127.0.0.1:1/registry")
    history, tries = History("postgresql://127.0.0.1:1/registry"), []

    def report(worker: str, body: str) -> None:
        tries.append(worker)
        History.report_worker(history, worker, body)

    monkeypatch.setattr(history, "report_worker", report)
    publisher = SharedReportPublisher(history)
    writing = asyncio.create_task(publisher.repeat(beat=0.0))
    while len(tries) < 3:
        await asyncio.sleep(0)
    writing.cancel()
    publisher.close()
    assert [r.message.rpartition(";")[2] for r in caplog.records] == [
        " other machines do not count this worker",
        " other machines still count this worker for some seconds",
    ]
    with pytest.raises(RegistryUnavailable):
        AllWorkers(Home(tmp_path)).read()
