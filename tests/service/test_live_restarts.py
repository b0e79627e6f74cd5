"""Killed workers are replaced by forks, also without the fork server."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from eventlog.events import PredictionEvent
from tests.crash import serving_workers
from tests.service.conftest import Service

pytestmark = pytest.mark.timeout(900)
ROWS = {"model": "tiny", "rows": [{"price": 0.5, "colour": "red"}]}


class Restarting(Service):
    """A service whose only worker may be killed."""

    def replace_worker(self) -> psutil.Process:
        """Kill the worker; return the one that takes its place, once it answers."""
        (victim,) = serving_workers(self.supervisor)
        victim.kill()
        self.until(lambda: serving_workers(self.supervisor) not in ([], [victim]))
        self.until(self.is_ready)
        (worker,) = serving_workers(self.supervisor)
        return worker


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Restarting]:
    root = tmp_path_factory.mktemp("restarts")
    with Restarting(root, free_port) as service:
        service.register()
        service.start()
        yield service
        assert service.stop() == 0


def _predict(service: Service) -> Any:
    return service.http.post("/predict", json=ROWS).raise_for_status().json()


def _answered(service: Service) -> float:
    """Requests that the service's metrics count."""
    lines = service.http.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("driftline_events_appended_total")]
    return sum(float(line.split()[-1]) for line in counts)


def _fork_servers(service: Restarting) -> list[psutil.Process]:
    return [
        one for one in psutil.Process(service.supervisor).children() if one.name() == "fork-server"
    ]


def test_a_killed_worker_is_replaced_and_metrics_continue(service: Restarting) -> None:
    _predict(service)
    service.until(lambda: _answered(service) == 1)
    assert service.replace_worker().ppid() == service.supervisor
    _predict(service)
    service.until(lambda: _answered(service) == 2)


def test_a_new_log_replaces_a_removed_one(service: Restarting) -> None:
    before = {record.source for record in service.events()}
    shutil.rmtree(service.home.log)
    service.until(lambda: "was removed or replaced while" in service.said())
    service.until(lambda: (service.home.log / "identity").exists() and service.is_ready())
    name = _predict(service)["prediction_id"]
    (event,) = [record for record in service.events() if isinstance(record.event, PredictionEvent)]
    assert event.event.prediction_id == name
    assert event.source not in before


def test_a_worker_is_replaced_without_the_fork_server(service: Restarting) -> None:
    for one in _fork_servers(service):
        one.kill()
        one.wait()
    assert "worker.service" in " ".join(service.replace_worker().cmdline())
    _predict(service)
