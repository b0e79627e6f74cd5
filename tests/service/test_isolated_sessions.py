"""Models in separate processes: protocol, crashes, restarts, limits and deadlines."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from registry.datatypes import NUMPY
from registry.manifest import SessionOptions
from service.errors import (
    InvalidRequest,
    NotReady,
    OutOfMemory,
    ProcessDied,
    RunFailed,
    ServingError,
    ValuesRefused,
)
from service.sessions.child import ChildConfig
from service.sessions.isolated import IsolatedSession
from service.sessions.sealed_memory import ReadMemory, UnsealedMemory, WrittenMemory
from service.sessions.session import Session
from service.sessions.tensor_frame import MalformedFrame, lay_out, read, write
from tests.service.test_live_crash import DEADLY, quotient
from tests.tiny_model import as_model, filled, tiny_classifier

X = {"price": np.array([[1.0], [-2.0]], np.float32), "colour": np.array([["red"], ["blü"]], object)}

numbers = st.sampled_from([dtype for name, dtype in NUMPY.items() if name not in {"BYTES", "BF16"}])
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            arrays.arrays(numbers, shapes),
            arrays.arrays(np.object_, shapes, elements=st.text(max_size=5)),
        ),
        max_size=4,
    )
)
def test_tensors_are_read_back_unchanged(tensors: dict[str, Any]) -> None:
    frame = lay_out(tensors)
    buffer = memoryview(bytearray(frame.size))
    write(frame, buffer)
    for copy in (True, False):
        found = read(buffer, len(frame.header), copy=copy)
        assert list(found) == list(tensors)
        for name, array in tensors.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_bfloat16_and_views_are_transferred() -> None:
    values = np.arange(12, dtype=NUMPY["BF16"]).reshape(3, 4)
    frame = lay_out({"x": values[:, ::2]})
    buffer = memoryview(bytearray(frame.size))
    write(frame, buffer)
    np.testing.assert_array_equal(read(buffer, len(frame.header), copy=True)["x"], values[:, ::2])


@given(data=st.data())
def test_a_frame_with_changed_bytes_is_read_or_refused(data: Any) -> None:
    frame = lay_out({"x": np.arange(6.0), "s": np.array(["a", "b"], object)})
    content = bytearray(frame.size)
    write(frame, memoryview(content))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    header = data.draw(st.sampled_from([len(frame.header), 0, 1, len(content), len(content) + 1]))
    with suppress(MalformedFrame):
        read(memoryview(content), header, copy=True)


def test_memory_cannot_be_shrunk_by_its_writer_nor_written_by_its_reader() -> None:
    written = WrittenMemory(100)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(written.descriptor, 0)
    other = os.dup(written.descriptor)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(other, b"x", 0)
    read_back = ReadMemory(other)
    written.buffer[:3] = b"abc"
    assert read_back.buffer[:3] == b"abc"
    assert read_back.buffer.readonly
    unsealed = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, 10)
    with pytest.raises(UnsealedMemory):
        ReadMemory(unsealed)
    written.close()


class Isolated:
    """Opens isolated sessions of models below a folder, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.restarts = 0
        self._opened: list[IsolatedSession] = []

    def open(self, model: onnx.ModelProto, memory: int = 0, **ports: Any) -> IsolatedSession:
        path = self.folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        config = ChildConfig(str(path), digest, SessionOptions(), memory)
        session = IsolatedSession(
            "version 1 of m",
            config,
            count_restart=self._count,
            clock=lambda: self.now,
            **ports,
        )
        self._opened.append(session)
        return session

    def misbehaving(self, behaviour: str) -> IsolatedSession:
        command = (sys.executable, "-P", "-c", _START, str(Path.cwd()), behaviour)
        return self.open(tiny_classifier(), command=command)

    def _count(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        for one in self._opened:
            one.retire()


_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from tests.service.misbehaving_child import main; main()"
)


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Isolated]:
    opened = Isolated(tmp_path)
    yield opened
    opened.close()


def test_an_isolated_model_answers_as_in_the_worker(isolated: Isolated) -> None:
    session = isolated.open(tiny_classifier())
    expected = Session(tiny_classifier().SerializeToString(), SessionOptions()).run(X)
    for _ in range(3):
        found = session.run(X)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    many = {name: np.repeat(array, 200_000, axis=0) for name, array in X.items()}
    assert session.run(many)["label"].shape == (400_000,)
    np.testing.assert_array_equal(session.run(X)["label"], expected["label"])
    known = session.runnable()
    assert [node.name for node in known.inputs] == ["price", "colour"]
    assert [node.name for node in known.outputs] == ["label", "probabilities"]
    assert known.inputs[0].type == "tensor(float)"


def test_errors_of_a_run_keep_type_and_message(isolated: Isolated) -> None:
    session = isolated.open(quotient())
    with pytest.raises(InvalidRequest):
        session.run({"x": np.zeros(1, np.float32), "y": np.zeros(1, np.int32)})
    one = np.array([1], np.int32)
    assert session.run({"x": one, "y": one})["z"].tolist() == [1]
    with pytest.raises(ValuesRefused):
        session.run({"x": np.ones(2, np.int32), "y": np.ones(3, np.int32)})


def test_a_crash_fails_its_run_and_the_next_run_restarts_the_process(
    isolated: Isolated,
) -> None:
    session = isolated.open(quotient())
    x, y = (np.array([value], np.int32) for value in DEADLY)
    with pytest.raises(ProcessDied, match="Floating point exception"):
        session.run({"x": x, "y": y})
    assert session.run({"x": y, "y": y})["z"].tolist() == [1]
    assert isolated.restarts == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("exits", "exit status 3"),
        ("traps", "Floating point exception"),
        ("answers another run", "answer to run"),
        ("sends nonsense", "malformed message"),
        ("sends an unknown error", "malformed message"),
        ("sends memory that may shrink", "not sealed"),
        ("sends a file", "not a memfd"),
    ],
)
def test_a_misbehaving_process_fails_its_run_with_the_reason(
    isolated: Isolated, behaviour: str, reason: str
) -> None:
    session = isolated.misbehaving(behaviour)
    with pytest.raises(ProcessDied, match=reason):
        session.run(X)


def test_repeated_deaths_lead_to_longer_pauses(isolated: Isolated) -> None:
    session = isolated.misbehaving("exits")
    for pause in (0.0, 0.0, 1.0):
        isolated.now += pause
        with pytest.raises(ProcessDied):
            session.run(X)
    isolated.now += 1.9
    with pytest.raises(NotReady, match=r"ended \(exit status 3\); it restarts in"):
        session.run(X)
    isolated.now += 0.2
    with pytest.raises(ProcessDied):
        session.run(X)
    assert isolated.restarts == 3


def test_a_process_that_does_not_start_is_not_ready(isolated: Isolated) -> None:
    with pytest.raises(NotReady, match="does not start: exit status 7"):
        isolated.misbehaving("never starts")
    with pytest.raises(NotReady, match="cannot load the model"):
        isolated.open(onnx.ModelProto())


def test_a_changed_file_is_not_reloaded(isolated: Isolated) -> None:
    session = isolated.open(quotient())
    x, y = (np.array([value], np.int32) for value in DEADLY)
    with pytest.raises(ProcessDied):
        session.run({"x": x, "y": y})
    (isolated.folder / "model.onnx").write_bytes(tiny_classifier().SerializeToString())
    with pytest.raises(NotReady, match=r"model\.onnx was changed"):
        session.run({"x": y, "y": y})


def test_a_run_over_the_memory_limit_fails_and_the_next_run_succeeds(
    isolated: Isolated,
) -> None:
    session = isolated.open(filled("ConstantOfShape"), memory=1 << 30)
    with pytest.raises(OutOfMemory, match=r"than session\.memory allows \(1024 MiB\)"):
        session.run({"shape": np.array([10**9])})
    assert session.run({"shape": np.array([3])})["y"].tolist() == [1.0, 1.0, 1.0]
    assert isolated.restarts == 0


def endless_loop() -> onnx.ModelProto:
    """A loop that ends when its counter does, after `steps` steps."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["going"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [None]),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [None]),
        ],
    )
    go = helper.make_tensor("go", TensorProto.BOOL, [], [True])
    return as_model(
        helper.make_graph(
            [
                helper.make_node("Squeeze", ["steps"], ["count"]),
                helper.make_node("Loop", ["count", "go", "x"], ["y"], body=body),
            ],
            "endless",
            [
                helper.make_tensor_value_info("steps", TensorProto.INT64, [1]),
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [None]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
            [go],
        )
    )


def _stopped(session: IsolatedSession, inputs: dict[str, Any]) -> ServingError:
    """Run in a thread, stop it, and return how the run failed."""
    run, failed = session.new_run(), []

    def execute() -> None:
        try:
            run.run(inputs)
        except ServingError as error:
            failed.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    run.stop()
    thread.join(180)
    assert not thread.is_alive()
    assert run.stopped
    return failed[0]


def test_a_stopped_endless_loop_ends_and_its_process_continues(
    isolated: Isolated,
) -> None:
    session = isolated.open(endless_loop(), stop_s=180.0)
    x = np.ones(1, np.float32)
    assert isinstance(_stopped(session, {"steps": np.array([2**62]), "x": x}), RunFailed)
    assert session.run({"steps": np.array([3]), "x": x})["y"].tolist() == [8.0]
    assert isolated.restarts == 0


def test_a_run_that_does_not_stop_is_killed(isolated: Isolated) -> None:
    command = (sys.executable, "-P", "-c", _START, str(Path.cwd()), "hangs")
    session = isolated.open(tiny_classifier(), command=command, stop_s=0.01)
    assert "Killed" in str(_stopped(session, X))


def test_processes_end_with_their_sessions(isolated: Isolated) -> None:
    session = isolated.misbehaving("echoes")
    pid = int(session.run(X)["pid"][0])
    assert Path(f"/proc/{pid}").exists()
    session.retire()
    assert not Path(f"/proc/{pid}").exists()
    last = int(session.run(X)["pid"][0])  # a request that was accepted before
    assert not Path(f"/proc/{last}").exists()


def test_processes_end_with_a_killed_worker_in_the_middle_of_a_run(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(endless_loop().SerializeToString())
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, model], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert worker.stdout is not None
    assert worker.stdout.readline()
    (child,) = psutil.Process(worker.pid).children()
    worker.kill()
    worker.wait(180)
    child.wait(180)


_WORKER = """
import sys, threading
import numpy as np
from registry.manifest import SessionOptions
from service.sessions.child import ChildConfig
from service.sessions.isolated import IsolatedSession

session = IsolatedSession("m", ChildConfig(sys.argv[1], "", SessionOptions()))
inputs = {"steps": np.array([2**62]), "x": np.ones(1, np.float32)}
threading.Thread(target=session.run, args=[inputs]).start()
print("running", flush=True)
"""
