"""Real locust loads on a real service: their reports, and the service's log."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from access.keyfile import KeyFile
from access.keys import Key, make_key
from eventlog import wire
from eventlog.events import FeedbackEvent, PredictionEvent
from tests import preloaded
from tests.service.conftest import Service


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A service that answers only callers with a key."""
    root = tmp_path_factory.mktemp("load")
    with Service(root, free_port) as service:
        service.register()
        service.registry.promote("tiny", "1")
        service.environment["DRIFTLINE_API_KEY"] = _key(service)
        service.start()
        yield service


def _key(service: Service) -> str:
    made = []

    def add(held: list[Key]) -> list[Key]:
        key, text = make_key(held, name="load", scopes=["predict"], expires="", now=1_700_000_000.0)
        made.append(text)
        return [*held, key]

    KeyFile.of(service.home, {}).change(add)
    return made[0]


def _events(service: Service) -> list[PredictionEvent | FeedbackEvent]:
    events = [wire.decode(record.value) for record in service.events()]
    return [event for event in events if isinstance(event, PredictionEvent | FeedbackEvent)]


def _load(service: Service, *options: str, host: str = "") -> subprocess.CompletedProcess[str]:
    hosts = ["--host", host or service.url, "--grpc-host", f"127.0.0.1:{service.grpc_port}"]
    return preloaded.run(
        [sys.executable, "-m", "driftline", "load", *hosts, "--users", "4", *options],
        env=service.environment,
        stderr=subprocess.STDOUT,
        timeout=120,
    )


def test_a_load_over_every_protocol_meets_its_objectives_and_drifts_as_stated(
    service: Service, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    done = _load(
        service,
        *("--seconds", "3", "--p99-ms", "10000", "--html", str(report)),
        *("--shift", "price=5", "--mix", "colour=green:1"),
    )
    assert done.returncode == 0, done.stdout
    assert "verdict: met" in done.stdout
    page = report.read_text("utf-8")
    assert page.index("verdict: met") < page.index("<body>") + 1_000
    events = _events(service)
    predictions = [event for event in events if isinstance(event, PredictionEvent)]
    assert {event.protocol for event in predictions} == {"rest", "grpc"}
    # A request may be in flight when the load ends.
    assert {"ok"} <= {event.outcome for event in predictions} <= {"ok", "cancelled"}
    assert {colour for event in predictions for colour in event.inputs["colour"].data} == {"green"}
    prices = [p for event in predictions for p in event.inputs["price"].data if p is not None]
    assert np.mean(prices) == pytest.approx(5, abs=1), "the reference's mean is 0, its deviation 1"
    labels = [event for event in events if isinstance(event, FeedbackEvent)]
    assert {event.prediction_id for event in labels} < {e.prediction_id for e in predictions}
    counted = re.search(r"^([\d,]+) requests answered", done.stdout, re.MULTILINE)
    assert counted is not None
    assert int(counted[1].replace(",", "")) <= len(events)


def test_a_missed_objective_fails_the_command_and_workers_report_to_one_verdict(
    service: Service,
) -> None:
    options = (
        "--seconds",
        "4",
        "--p99-ms",
        "0.001",
        "--processes",
        "2",
        "--protocol",
        "rest-json",
    )
    done = _load(service, *options)
    assert "MISSED  p99 at most 0.001 ms" in done.stdout
    bottleneck = "BOTTLENECK" in done.stdout
    assert done.returncode == (3 if bottleneck else 1), done.stdout
    assert ("verdict: inconclusive" in done.stdout) == bottleneck
    assert re.search(r"the generator used \d+% of a core", done.stdout)


def test_logged_requests_are_resent_unchanged_and_marked(service: Service) -> None:
    now = datetime.now(UTC).isoformat()
    key = {"authorization": f"Bearer {service.environment['DRIFTLINE_API_KEY']}"}
    sent: list[list[Any]] = [[0.5], [None, 2.0, -7.25]]
    for prices in sent:
        shape, colours = [len(prices), 1], ["blue"] * len(prices)
        inputs = [
            {"name": "price", "datatype": "FP32", "shape": shape, "data": prices},
            {"name": "colour", "datatype": "BYTES", "shape": shape, "data": colours},
        ]
        reply = service.http.post("/v2/models/tiny/infer", json={"inputs": inputs}, headers=key)
        assert reply.is_success, reply.text
    before = len(_events(service))
    done = _load(service, "--from-log", "--from", now, "--speed", "100", "--p99-ms", "10000")
    assert done.returncode == 0, done.stdout
    assert "2 logged requests; 2 due in" in done.stdout
    assert "2 requests answered" in done.stdout
    replayed = [event for event in _events(service)[before:] if isinstance(event, PredictionEvent)]
    assert sorted((event.inputs["price"].data for event in replayed), key=len) == sent
    assert all(event.load_test for event in replayed)
    again = _load(service, "--from-log", "--from", now, "--warm-up", "60")
    assert "0 requests answered" in again.stdout, "all were sent before anything is measured"
    assert again.returncode == 1


def test_options_that_contradict_logged_requests_are_refused(service: Service) -> None:
    for options, message in [
        (("--last", "1h"), "--last: selects logged requests; expected --from-log too"),
        (("--from-log", "--rate", "1"), "--rate: has no effect on logged requests"),
        (("--from-log", "--protocol", "grpc"), "--protocol: logged requests use their own"),
        (("--from-log", "--last", "soon"), "--last 'soon': expected a number"),
        (("--from-log", "--shift", "price=1"), "--from-log: requests are sent as they were logged"),
    ]:
        done = _load(service, *options)
        assert done.returncode == 2, done.stdout
        assert message in done.stdout
        assert "Traceback" not in done.stdout


def test_without_its_key_every_request_fails_with_the_reason(service: Service) -> None:
    key = service.environment.pop("DRIFTLINE_API_KEY")
    try:
        done = _load(service, "--seconds", "2", "--protocol", "grpc", "--protocol", "rest-binary")
    finally:
        service.environment["DRIFTLINE_API_KEY"] = key
    assert done.returncode == 1, done.stdout
    assert "failed at most 0.10%: 100.00%" in done.stdout
    assert "401" in done.stdout
    assert "UNAUTHENTICATED" in done.stdout


def test_an_impossible_load_states_why(service: Service) -> None:
    done = _load(service, "--seconds", "2", "--shift", "age=1")
    assert done.returncode == 2, done.stdout
    assert "--shift: the model has no feature 'age'; expected one of price" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_unreachable_service_is_named(
    service: Service,
    free_port: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "registry.py").write_text("raise AssertionError('the module of this folder')")
    monkeypatch.chdir(tmp_path)
    host = f"http://127.0.0.1:{free_port()}"
    done = _load(service, "--seconds", "2", host=host)
    assert done.returncode == 2, done.stdout
    assert f"no service is ready at {host}" in done.stdout


def test_locusts_own_page_runs_the_same_load(
    service: Service, free_port: Callable[[], int]
) -> None:
    page = f"http://127.0.0.1:{free_port()}"
    where = ["--web-host", "127.0.0.1", "--web-port", page.rsplit(":", 1)[1]]
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", *where]
    with subprocess.Popen([*command, "RestJson"], env=service.environment) as locust:
        try:
            ours = {"user_count": "2", "spawn_rate": "2", "host": service.url}
            _until(lambda: httpx.get(page, trust_env=False).is_success)
            for wrong, words in [
                ({"shift": "nothing=1"}, "nothing"),
                ({"host": "http://127.0.0.1:9"}, "no service is ready at http://127.0.0.1:9"),
            ]:
                refused = httpx.post(
                    f"{page}/swarm", data=ours | wrong, trust_env=False, timeout=60
                )
                assert refused.json()["success"] is False
                assert words in refused.json()["message"]
            form = {"user_count": "2", "spawn_rate": "2", "host": service.url, "run_time": "60s"}
            _until(lambda: httpx.post(f"{page}/swarm", data=form, trust_env=False).is_success)
            _until(lambda: _stats(page)["stats"][-1]["num_requests"] > 5)
            assert _stats(page)["fail_ratio"] == 0
        finally:
            locust.terminate()


def _stats(page: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{page}/stats/requests", trust_env=False).json()
    return answer


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if holds():
                return
        time.sleep(0.1)
    pytest.fail("it never did")
