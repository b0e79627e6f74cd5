"""The comparison's generators count exactly the replies of a real server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.compare import contenders, generator, requests
from benchmarks.compare.contenders import CONTENDERS, Contender
from benchmarks.compare.measurement import Rounds, measure
from benchmarks.compare.models import Subject
from benchmarks.compare.requests import Question
from benchmarks.compare.server_process import running
from tests.tiny_model import as_model

ROWS = 300  # of 1,024 numbers: more than HTTP/2's first window takes


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A model that adds up its rows, with one large request."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("compare")
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["x"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        ],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1024])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1024]),
        ],
    )
    path = folder / "model.onnx"
    path.write_bytes(as_model(graph).SerializeToString())
    rows = np.random.default_rng(0).normal(size=(ROWS, 1024)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(folder / "home"))
        yield Subject("wide", "wide", path, rows)


def _named(name: str) -> Contender:
    return next(one for one in CONTENDERS if one.name == name)


@pytest.mark.parametrize("name", [contenders.BARE, contenders.BARE_BINARY, contenders.BARE_GRPC])
def test_a_bare_handler_answers_every_request_of_the_generator(
    name: str, subject: Subject, tmp_path: Path
) -> None:
    with running(_named(name), subject, tmp_path / "run") as server:
        before = server.cpu()
        load = generator.generate(server.port, server.question, connections=3, seconds=0.3)
        assert load.answered >= 3
        assert load.failed == 0
        assert 0 < load.p50_ms <= load.p99_ms
        assert server.cpu() > before


@pytest.mark.parametrize("name", [contenders.BARE, contenders.BARE_GRPC])
def test_an_error_reply_counts_as_failed(name: str, subject: Subject, tmp_path: Path) -> None:
    with running(_named(name), subject, tmp_path / "run") as server:
        asked = server.question
        wrong = Question(
            asked.transport, asked.path, asked.body[: len(asked.body) // 2], asked.headers
        )
        load = generator.generate(server.port, wrong, connections=2, seconds=0.1)
        assert load.answered == 0
        assert load.failed >= 2


def test_a_measurement_has_the_cost_of_each_number_of_connections(
    subject: Subject, tmp_path: Path
) -> None:
    plan = Rounds(rounds=1, seconds=1, connections=(1, 4), folder=tmp_path / "run")
    measured = dict(measure(_named(contenders.BARE_BINARY), subject, plan))
    assert list(measured) == [1, 4]
    for seen in measured.values():
        assert seen.cpu_us > 0
        assert seen.requests_s > 0
        assert seen.failed == 0


def test_a_server_that_cannot_start_states_why_and_leaves_no_process(
    subject: Subject, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    broken = Contender(
        name="broken",
        floor="broken",
        command=lambda *_: command,
        question=requests.open_inference_json,
    )
    before = set(psutil.Process().children(recursive=True))
    with (
        pytest.raises(RuntimeError, match="no such model"),
        running(broken, subject, tmp_path / "run"),
    ):
        pytest.fail("it never answered")
    assert set(psutil.Process().children(recursive=True)) <= before
