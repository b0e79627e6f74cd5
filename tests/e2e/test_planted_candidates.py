"""Bad candidates that are good on the reference, and the mechanism that stops each."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from eventlog.settings import Home
from registry.gates.policy import GateFile, set_gates
from registry.history.rollout_state import Rollout
from registry.settings import open_history
from registry.store import Registry
from tests.depth import by_depth
from tests.e2e.planted_models import (
    DEAR,
    ROUNDS,
    invalid_for_dear_rows,
    register,
    slow,
    wrong_for_dear_blue_rows,
)
from tests.preloaded import Command, run
from tests.service.conftest import Service
from tests.tiny_model import write_tiny

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
GATES: dict[str, Any] = {
    "finite": {"kind": "finite"},
    "reference": {"kind": "metric", "metric": "accuracy", "worse_by": 0.02},
    "production": {
        "kind": "replay", "metric": "accuracy", "at_least": 0.9, "segment": "colour",
        "min_rows": 50,
    },
}  # fmt: skip
WRONG, SLOW, INVALID = "2", "3", "4"  # versions
INVALID_EVERY = by_depth(40, 100)  # keys: fewer of them need more requests to be seen


def driftline(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit status and what it printed."""
    command = [sys.executable, "-P", "-m", "driftline", *arguments]
    done = run(command, env=environment)
    return done.returncode, done.stdout + done.stderr


class System:
    """A service and a monitor, three bad candidates, and labelled requests in the log."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._key = 0

    def driftline(self, *arguments: str) -> tuple[int, str]:
        return driftline(self.service.environment, *arguments)

    def send_labelled_requests(self) -> None:
        """Ask about a batch of rows, of which every second blue one is dear, and label it."""
        prices = [-2.5, 6.0, -2.5, 2.5] * 50
        rows = [
            {"price": price, "colour": ("blue", "red")[n % 4 > 1]} for n, price in enumerate(prices)
        ]
        body = {"model": "tiny", "rows": rows}
        reply = self.service.http.post("/predict", json=body).raise_for_status().json()
        labels = [
            {"prediction_id": reply["prediction_id"], "row": n, "label": int(price > 0)}
            for n, price in enumerate(prices)
        ]
        self.service.http.post("/v1/feedback", json=labels).raise_for_status()

    def rollout(self) -> Rollout:
        history = open_history(self.service.home)
        latest = history.state("tiny").rollouts["champion"]
        history.close()
        return latest

    def roll_out(self, number: str, steps: str, at_once: int) -> Rollout:
        """Roll a version out and send requests until the monitor has ended that."""
        start = ["rollout", "start", "tiny", "--version", number, "--steps", steps]
        code, printed = self.driftline(*start)
        assert code == 0, printed
        asyncio.run(self._send_requests(at_once))
        ended = self.rollout()
        assert ended.number == number
        return ended

    def dear_request(self) -> httpx.Response:
        """Ask about one dear row, for a key of its own."""
        body = {"model": "tiny", "rows": [{"price": DEAR, "colour": "red"}]}
        return self.service.http.post("/predict", json=body).raise_for_status()

    async def _send_requests(self, at_once: int) -> None:
        deadline = time.monotonic() + 300
        async with aiohttp.ClientSession(self.service.url) as session:
            while self.rollout().phase == "running":
                assert time.monotonic() < deadline, (self.service.root / "monitor.log").read_text()
                await asyncio.gather(*(self._ask(session) for _ in range(at_once)))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        self._key += 1
        price = DEAR if self._key % INVALID_EVERY == 0 else 0.5
        rows = [{"price": price, "colour": "red"}]
        body = {"model": "tiny", "rows": rows, "routing_key": f"user-{self._key}"}
        async with session.post("/predict", json=body) as reply:
            assert reply.status == 200, await reply.text()


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[System]:
    root = tmp_path_factory.mktemp("planted")
    with Service(root, free_port, poll_interval_s="0.1") as service:
        service.register()
        for number, model in ((WRONG, wrong_for_dear_blue_rows()), (SLOW, slow()),
                              (INVALID, invalid_for_dear_rows())):  # fmt: skip
            assert register(service, model, root / number).number == number
        history = open_history(service.home)
        set_gates(history, "tiny", GateFile(gates=GATES), actor="ann", why="agreed")
        history.close()
        monitor = Command(
            [sys.executable, "-m", "driftline", "monitor", "--port", "0"],
            env=service.environment, stderr=(root / "monitor.log").open("w"),
        )  # fmt: skip
        try:
            service.start()
            system = System(service)
            system.send_labelled_requests()
            yield system
        finally:
            monitor.terminate()
            assert monitor.wait(120) == 0, (root / "monitor.log").read_text()


def test_a_candidate_wrong_on_a_segment_is_stopped_only_by_the_replay_gate(
    system: System,
) -> None:
    code, printed = system.driftline("gate", "tiny", "--version", WRONG, "--why", "retrained")
    assert code == 1
    assert "finite: passed\nreference: passed\nproduction: failed" in printed
    assert "accuracy, blue: 0.5 (at least 0.9" in printed
    code, printed = system.driftline("rollout", "start", "tiny", "--version", WRONG)
    assert code == 1
    assert "cannot be version 2: its gates: failed (production)" in printed


@pytest.mark.nightly  # tests/driftline/gates/test_serving_gates.py has a short one
def test_a_candidate_three_times_slower_is_stopped_only_by_the_speed_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    home = Home(tmp_path / "home")
    registry = Registry(home)
    for number, rounds in (("1", ROUNDS), ("2", 3 * ROUNDS)):
        write_tiny(tmp_path / number)
        files = {
            name: tmp_path / number / file
            for name, file in (("manifest", "manifest.yaml"), ("reference", "reference.parquet"))
        }
        (tmp_path / number / "model.onnx").write_bytes(slow(rounds).SerializeToString())
        registry.register(tmp_path / number / "model.onnx", model="tiny", **files)
    registry.promote("tiny", "1")
    history = open_history(home)
    gates = {**GATES, "fast": {"kind": "speed", "mean_ratio": 1.5}}
    del gates["production"]  # nothing is logged
    set_gates(history, "tiny", GateFile(gates=gates), actor="ann", why="agreed")
    history.close()
    code, printed = driftline(dict(os.environ), "gate", "tiny", "--version", "2", "--why", "again")
    assert code == 1
    assert "finite: passed\nreference: passed\nfast: failed" in printed
    assert "mean in ms, ratio" in printed
    code, printed = driftline(dict(os.environ), "rollout", "start", "tiny", "--version", "2")
    assert code == 1
    assert "cannot be version 2: its gates: failed (fast)" in printed


@pytest.mark.parametrize(
    ("number", "steps", "at_once", "metric"),
    [(SLOW, "10,100", 1, "slow answers"), (INVALID, "50,100", 20, "invalid outputs")],
)
def test_a_faulty_candidate_that_passes_every_gate_is_stopped_by_the_verdict(
    system: System, number: str, steps: str, at_once: int, metric: str
) -> None:
    code, printed = system.driftline("gate", "tiny", "--version", number, "--why", "retrained")
    assert code == 0, printed
    ended = system.roll_out(number, steps, at_once)
    assert ended.phase == "aborted"
    assert f"more keys with {metric}" in ended.why
    _, printed = system.driftline("rollout", "status", "tiny")
    assert f"monitor: roll back at step 1: rolled back: more keys with {metric}" in printed
    code, printed = system.driftline("rollout", "start", "tiny", "--version", number)
    assert code == 1
    assert "barred by monitor in revision" in printed
    assert f"more keys with {metric}" in printed
    system.service.until(lambda: "driftline-arm" not in system.dear_request().headers)
    assert {system.dear_request().headers["driftline-version"] for _ in range(20)} == {"1"}
