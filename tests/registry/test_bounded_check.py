"""Files that need too much or crash the check are refused with the reason."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.batching import Verdict, judge, runnable
from registry.bounded import check
from registry.bounded.bounds import Bounds, bounds_of
from registry.bounded.job import OUTCOME, REQUEST, CheckRequest
from registry.errors import InvalidModel, InvalidReference
from registry.onnx_file import load
from registry.preparation import check_files
from registry.store import Registry, store_folder
from tests.service.test_isolated_sessions import endless_loop
from tests.tiny_model import MANIFEST, as_model, tiny_classifier, write_tiny


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Registry(Home(tmp_path / "home"))


def doubling(depth: int) -> onnx.ModelProto:
    """A small file whose functions each call the next one twice."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function(
            "own",
            f"f{level}",
            ["x"],
            ["z"],
            [
                helper.make_node(f"f{level + 1}", ["x"], ["y"], domain="own"),
                helper.make_node(f"f{level + 1}", ["y"], ["z"], domain="own"),
            ],
            opsets,
        )
        for level in range(depth)
    ]
    last = [helper.make_node("Neg", ["x"], ["z"])]
    functions.append(helper.make_function("own", f"f{depth}", ["x"], ["z"], last, opsets))
    graph = helper.make_graph(
        [helper.make_node("f0", ["x"], ["y"], domain="own")],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=9)


def endless(steps: int = 2**62) -> onnx.ModelProto:
    """A model that loops without end, whatever its input."""
    model = endless_loop()
    model.graph.initializer.append(helper.make_tensor("steps", TensorProto.INT64, [1], [steps]))
    del model.graph.input[0]
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (doubling(40), r"loading the model (took longer|needs more|ended)"),
        (endless(), r"(loading the model|making trial runs of the model) took longer than [1-9] s"),
    ],
)
def test_a_file_over_the_limits_is_refused_within_the_limits(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto, reason: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTER_SECONDS", "5")
    monkeypatch.setenv("DRIFTLINE_REGISTER_MEMORY", "1GiB")
    with pytest.raises(InvalidModel, match=reason):
        registry.register(model.SerializeToString(), model="greedy")
    assert registry.models() == []


def test_a_small_file_of_many_rows_is_refused_before_they_are_read(
    registry: Registry, tmp_path: Path
) -> None:
    rows = pa.table({"price": pa.array(np.zeros(10_000_001, np.float32))})
    path = tmp_path / "rows.parquet"
    pq.write_table(rows, path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidReference, match=r"10,000,001 rows; expected at most 10,000,000"):
        registry.register(
            tiny_classifier().SerializeToString(), model="tiny", reference=path, manifest=MANIFEST
        )


def test_a_reference_beyond_the_memory_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTER_MEMORY", "1GiB")
    columns = {f"c{i}": pa.array(np.zeros(9_000_000)) for i in range(16)}
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    with pytest.raises(InvalidReference, match=r"reading the reference needs more than 1\.\d GiB"):
        registry.register(
            tiny_classifier().SerializeToString(), model="tiny", reference=path, manifest=MANIFEST
        )


def test_a_model_that_ends_the_process_is_refused_with_the_signal(registry: Registry) -> None:
    constant = helper.make_tensor("y", TensorProto.INT32, [1], [-1])
    least = helper.make_tensor("least", TensorProto.INT32, [1], [-(2**31)])
    graph = helper.make_graph(
        [
            helper.make_node("Min", ["x", "least"], ["lowest"]),
            helper.make_node("Div", ["lowest", "y"], ["z"]),
        ],
        "deadly",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [None])],
        [helper.make_tensor_value_info("z", TensorProto.INT32, [None])],
        [constant, least],
    )
    with pytest.raises(InvalidModel, match="ended the process that checks it: Floating point"):
        registry.register(as_model(graph).SerializeToString(), model="deadly")
    assert registry.register(tiny_classifier().SerializeToString(), model="tiny").number == "1"


def test_slow_trial_runs_disable_batching_and_refuse_nothing(registry: Registry) -> None:
    onnx_bytes = tiny_classifier().SerializeToString()
    manifest = registry.register(onnx_bytes, model="tiny").manifest
    verdict = judge(runnable(load(onnx_bytes)), manifest, seconds=0)
    assert verdict == Verdict(failure="trial runs took longer than 0 s", probed=False)


def test_nothing_is_left_of_a_killed_registration(registry: Registry, tmp_path: Path) -> None:
    store = store_folder(Home(tmp_path / "home"))
    left = store.parent / ".driftline-check-0123"
    left.mkdir()
    (left / "given.onnx").write_bytes(b"x")
    Registry(Home(tmp_path / "home"))
    assert not left.exists()
    registry.register(tiny_classifier().SerializeToString(), model="tiny")
    assert not list(store.parent.glob(".driftline-check-*"))


def test_the_check_ends_with_its_caller(tmp_path: Path) -> None:
    code = (
        "import sys; from registry.bounded.check import check_in_process, check_server; "
        "from pathlib import Path; check_server._started(); "
        "print(check_server._process.pid, flush=True); "
        "check_in_process(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), {})"
    )
    (tmp_path / "endless.onnx").write_bytes(endless().SerializeToString())
    (tmp_path / "check").mkdir()
    caller = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "check", tmp_path / "endless.onnx"],
        stdout=subprocess.PIPE,
    )
    assert caller.stdout is not None
    server = int(caller.stdout.readline())
    ended = os.pidfd_open(server)
    while not (tmp_path / "check" / "stage").exists():
        assert caller.poll() is None
    caller.send_signal(signal.SIGKILL)
    caller.wait(180)
    assert select.select([ended], [], [], 180)[0]
    os.close(ended)


def test_a_full_disk_is_not_reported_as_an_invalid_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path)
    (tmp_path / "given.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    (tmp_path / "given.reference").write_bytes((tmp_path / "reference.parquet").read_bytes())
    request = CheckRequest(MANIFEST, has_reference=True)
    (tmp_path / REQUEST).write_bytes(msgspec.msgpack.encode(request))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        check_files(tmp_path, 60)
    assert not (tmp_path / OUTCOME).exists()


NO_OUTCOME = """
import registry.bounded.server as server
def check_files(*_): raise MemoryError
server.check_files = check_files
server.main()
"""


def test_a_check_without_memory_for_its_result_is_refused_with_the_limit(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "COMMAND", (sys.executable, "-P", "-c", NO_OUTCOME))
    monkeypatch.setattr(check, "check_server", type(check.check_server)())
    with pytest.raises(InvalidModel, match="GiB; DRIFTLINE_REGISTER_MEMORY sets the limit"):
        registry.register(tiny_classifier().SerializeToString(), model="tiny")
    assert registry.models() == []


def test_a_result_that_cannot_be_written_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REQUEST).write_bytes(msgspec.msgpack.encode(CheckRequest(MANIFEST)))
    (tmp_path / "given.onnx").write_bytes(tiny_classifier().SerializeToString())

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("registry.preparation.check_request", lambda *_: None)
    monkeypatch.setattr("registry.preparation.CheckOutcome", full)
    with pytest.raises(MemoryError):
        check_files(tmp_path, 60)


def test_bounds_grow_with_the_files_and_their_settings_are_checked() -> None:
    assert bounds_of(0, {}) == Bounds(4 << 30, 120.0)
    assert bounds_of(1 << 30, {}) == Bounds(12 << 30, 120.0 + 1024)
    assert bounds_of(1 << 20, {"DRIFTLINE_REGISTER_MEMORY": ""}).memory == 0
    for name, value in (("MEMORY", "much"), ("SECONDS", "0")):
        with pytest.raises(SettingError, match="DRIFTLINE_REGISTER"):
            bounds_of(0, {f"DRIFTLINE_REGISTER_{name}": value})
