"""A version that answers no numbers for some requests is stopped by the monitor, unattended."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from driftline.cli import driftline
from registry.history.rollout_state import Rollout
from registry.settings import open_history
from tests.service.conftest import Service
from tests.tiny_model import tiny_classifier, write_tiny

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
DEAR = 1_000.0  # a price that no row of the reference has


def _wrong_for_dear_rows() -> onnx.ModelProto:
    """The classifier, but NaN for a price over 100."""
    model = tiny_classifier()
    graph = model.graph
    graph.initializer.append(helper.make_tensor("hundred", TensorProto.FLOAT, [1], [100.0]))
    graph.initializer.append(helper.make_tensor("nan", TensorProto.FLOAT, [1], [float("nan")]))
    (sigmoid,) = (node for node in graph.node if node.op_type == "Sigmoid")
    place = list(graph.node).index(sigmoid)
    sigmoid.input[0] = "guarded"
    graph.node.insert(place, helper.make_node("Where", ["dear", "nan", "margin"], ["guarded"]))
    graph.node.insert(place, helper.make_node("Greater", ["known", "hundred"], ["dear"]))
    return model


@pytest.fixture
def service(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Service]:
    """Version 1 as champion, version 2 wrong where its reference does not show it; a monitor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
        service = Service(tmp_path, free_port, poll_interval_s="0.1")
        patch.setenv("DRIFTLINE_HOME", str(service.home.root))
        service.register()
        service.registry.promote("tiny", "1")
        files = tmp_path / "retrained"
        write_tiny(files)
        (files / "model.onnx").write_bytes(_wrong_for_dear_rows().SerializeToString())
        service.registry.register(
            files / "model.onnx",
            model="tiny",
            manifest=files / "manifest.yaml",
            reference=files / "reference.parquet",
        )
        monitor = subprocess.Popen(
            [sys.executable, "-m", "driftline", "monitor", "--port", "0"],
            env=service.environment, stderr=(tmp_path / "monitor.log").open("w"),
        )  # fmt: skip
        try:
            service.start()
            yield service
            service.stop()
        finally:
            monitor.terminate()
            assert monitor.wait(120) == 0, (tmp_path / "monitor.log").read_text()


def _rollout(service: Service) -> Rollout:
    history = open_history(service.home)
    found = history.state("tiny").rollouts["champion"]
    history.close()
    return found


def test_a_version_with_invalid_outputs_is_rolled_back_and_answers_nobody(
    service: Service,
) -> None:
    started = CliRunner().invoke(
        driftline, ["rollout", "start", "tiny", "--version", "2", "--steps", "50,100"]
    )
    assert started.exit_code == 0, started.output
    deadline, asked, wrong = time.monotonic() + 180, 0, 0
    while _rollout(service).phase == "running":
        assert time.monotonic() < deadline, (service.root / "monitor.log").read_text()
        price = DEAR if asked % 3 == 0 else 0.5
        rows = [{"price": price, "colour": "red"}]
        body = {"model": "tiny", "rows": rows, "routing_key": f"user-{asked}"}
        reply = service.http.post("/predict", json=body).raise_for_status()
        wrong += price == DEAR and reply.headers["driftline-version"] == "2"
        asked += 1
    assert wrong > 0
    ended = _rollout(service)
    assert ended.phase == "aborted"
    assert "invalid outputs" in ended.why
    shown = CliRunner().invoke(driftline, ["rollout", "status", "tiny"]).output
    assert "monitor: roll back at step 1: rolled back: more keys with invalid outputs" in shown

    def is_over() -> bool:
        body = {"model": "tiny", "rows": [{"price": DEAR, "colour": "red"}]}
        reply = service.http.post("/predict", json=body).raise_for_status()
        return "driftline-arm" not in reply.headers

    service.until(is_over)
    rows = [{"price": DEAR, "colour": "red"}]
    for n in range(20):
        body = {"model": "tiny", "rows": rows, "routing_key": f"later-{n}"}
        reply = service.http.post("/predict", json=body).raise_for_status()
        assert reply.headers["driftline-version"] == "1"
