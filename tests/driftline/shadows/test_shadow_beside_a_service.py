"""A shadow next to a running service: its log, and its lack of effect on the service."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from driftline.shadow import commands
from eventlog.events import PredictionEvent
from registry.history.audit import EventCheck
from registry.settings import open_history
from registry.shadow_report import read_report
from registry.shadows import Shadows
from tests.crash import frozen, kill
from tests.driftline.gates.test_score_gates import biased_classifier
from tests.preloaded import Command
from tests.service.conftest import Service
from tests.tiny_model import BINARY, register_tiny, tiny_classifier, write_tiny


def slow_classifier() -> onnx.ModelProto:
    """The tiny classifier after 40 products of matrices, whose result counts nothing."""
    model = tiny_classifier()
    graph, size = model.graph, 512
    weights = np.full((size, size), 1 / size, np.float32)
    graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    graph.initializer.append(numpy_helper.from_array(weights[:1], "first"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    nodes = [helper.make_node("MatMul", ["known", "first"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{n}", "weights"], [f"m{n + 1}"]) for n in range(40)]
    nodes += [
        helper.make_node("ReduceMean", ["m40"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        helper.make_node("Add", ["margin", "none"], ["delayed"]),
    ]
    (sigmoid,) = (node for node in graph.node if node.op_type == "Sigmoid")
    place = list(graph.node).index(sigmoid)
    sigmoid.input[0] = "delayed"
    for node in reversed(nodes):
        graph.node.insert(place, node)
    return model


class Beside:
    """A service whose version 2 is a shadow of version 1, and the process that runs it."""

    def __init__(self, root: Path, free_port: Callable[[], int]) -> None:
        self.service = Service(root, free_port, poll_interval_s="0.1")
        register_tiny(self.service.registry, root / "files", prediction=BINARY)
        self.service.registry.promote("tiny", "1")
        write_tiny(root / "bad", prediction=BINARY)
        (root / "bad" / "model.onnx").write_bytes(biased_classifier().SerializeToString())
        self.service.registry.register(
            root / "bad" / "model.onnx",
            model="tiny",
            manifest=root / "bad" / "manifest.yaml",
            reference=root / "bad" / "reference.parquet",
        )
        Shadows(open_history(self.service.home)).start("tiny", "2", "champion", 1.0, actor="ann")
        self.service.start()
        self.asked = 0

    def run(self) -> "subprocess.Popen[bytes]":
        log = (self.service.root / "shadow.log").open("ab")
        command = [sys.executable, "-m", "driftline", "shadow", "run"]
        return Command(command, env=self.service.environment, stdout=log, stderr=log)

    def ask(self, requests: int) -> None:
        rows = [{"price": 0.5, "colour": "red"}, {"price": -1.0, "colour": "blue"}]
        for _ in range(requests):
            reply = self.service.http.post("/predict", json={"model": "tiny", "rows": rows})
            assert reply.status_code == 200, reply.text
        self.asked += requests

    def of(self, protocol: str) -> list[PredictionEvent]:
        events = (record.event for record in self.service.events())
        return [
            one for one in events if isinstance(one, PredictionEvent) and one.protocol == protocol
        ]

    def until_mirrored(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + 120
        while len({one.prediction_id for one in self.of("shadow")}) < self.asked:
            assert time.monotonic() < deadline
            assert process.poll() is None, (self.service.root / "shadow.log").read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def beside(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Beside]:
    root = tmp_path_factory.mktemp("shadow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        beside = Beside(root, free_port)
        yield beside
        beside.service.stop()


def test_a_frozen_or_killed_shadow_changes_no_reply_and_no_event(beside: Beside) -> None:
    process = beside.run()
    try:
        beside.ask(5)
        beside.until_mirrored(process)
        with frozen(process.pid):
            beside.ask(20)
            assert len(beside.of("predict")) == beside.asked  # each in the log before its reply
            assert len(beside.of("shadow")) == 5
        beside.until_mirrored(process)
        kill(process)
        beside.ask(5)
        assert len(beside.of("predict")) == beside.asked
        process = beside.run()
        beside.until_mirrored(process)
    finally:
        process.terminate()
        process.wait(60)
    asked, ran = beside.of("predict"), beside.of("shadow")
    assert {one.version for one in asked} == {"1"}
    assert {(one.version, one.outcome, one.alias) for one in ran} == {("2", "ok", "")}
    assert {one.prediction_id for one in ran} == {one.prediction_id for one in asked}
    assert [one.values() for one in (asked[0].outputs["label"], ran[0].outputs["label"])] == [
        [1, 0], [1, 1],
    ]  # fmt: skip
    check = EventCheck(open_history(beside.service.home).all_rows())
    assert [fault for one in (*asked, *ran) if (fault := check.fault(one))] == []
    report = read_report(beside.service.home)
    assert report is not None
    (counts,) = report.shadows.values()
    assert (counts.rows, counts.agreed) == (2 * counts.events, counts.events)


def test_the_command_shows_and_ends_a_shadow(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in beside.service.environment.items():
        monkeypatch.setenv(name, value)
    (command,) = commands()

    def shadow(*arguments: str) -> str:
        result = CliRunner().invoke(command, list(arguments))
        return f"{result.output}{result.exception or ''}"

    status = shadow("status", "tiny")
    assert "tiny version 2 runs on 100 % of the requests that champion answers" in status
    assert "30 requests, 60 rows, 50.00% with the same answer" in status
    assert "is already a shadow" in shadow("start", "tiny", "--version", "2")
    assert "tiny version 2 is no longer a shadow" in shadow("stop", "tiny")
    assert shadow("status", "tiny").strip() == "tiny has no shadow"
    rows = open_history(beside.service.home).rows("tiny")
    assert [row.kind for row in rows[-2:]] == ["shadow", "shadow"]


def test_a_shadow_a_hundred_times_slower_changes_no_reply_and_no_event(
    beside: Beside,
) -> None:
    """Counts and the log decide; the latency is a figure of docs/benchmarks."""
    service, folder = beside.service, beside.service.root / "slow"
    write_tiny(folder, prediction=BINARY)
    (folder / "model.onnx").write_bytes(slow_classifier().SerializeToString())
    service.registry.register(
        folder / "model.onnx",
        model="tiny",
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )
    shadows = Shadows(open_history(service.home))
    shadows.start("tiny", "3", "champion", 1.0, actor="ann")
    before = beside.asked
    process = beside.run()
    try:
        beside.ask(10)
        assert len(beside.of("predict")) == beside.asked  # each in the log before its reply
        beside.until_mirrored(process)
        while len(ran := [one for one in beside.of("shadow") if one.version == "3"]) < 10:
            assert process.poll() is None, (service.root / "shadow.log").read_text()
            time.sleep(0.1)
    finally:
        shadows.stop("tiny", "3", actor="ann")
        process.terminate()
        process.wait(60)
    asked = beside.of("predict")[before:]
    assert {(one.version, one.outcome) for one in asked} == {("1", "ok")}
    assert {str(one.outputs) for one in asked} == {str(beside.of("predict")[0].outputs)}
    assert {one.prediction_id for one in ran} >= {one.prediction_id for one in asked}
    slowest = sorted(one.run_us for one in asked)[len(asked) // 2]
    assert sorted(one.run_us for one in ran)[len(ran) // 2] > slowest, "it is no slow shadow"
