"""Compare runs in the worker with runs in a separate process: `python -m benchmarks.isolation`.

Both kinds of runs alternate. The output is the minimum and median time of a run, and the start
time of the process.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from registry.manifest import SessionOptions
from service.sessions.child import ChildConfig
from service.sessions.isolated import IsolatedSession
from service.sessions.session import Session

_RUNS = 3000
_STARTS = 3


def main() -> None:
    """Print the table."""
    options = SessionOptions()
    for label, shape in (("4 numbers", [1, 4]), ("an image of 600 KB", [1, 3, 224, 224])):
        model = _scaling(shape)
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            Path(file.name).write_bytes(model)
            digest = hashlib.sha256(model).hexdigest()
            starts = []
            for _ in range(_STARTS):
                began = time.perf_counter()
                isolated = IsolatedSession("model", ChildConfig(file.name, digest, options))
                starts.append(time.perf_counter() - began)
            inputs = {"x": np.ones(shape, np.float32)}
            here, there = _times(Session(model, options).run, isolated.run, inputs=inputs)
            isolated.retire()
        print(
            f"{label}: {_stated(here)} in the worker, {_stated(there)} in a process; "
            f"start {min(starts):.2f} s"
        )


def _scaling(shape: list[int]) -> bytes:
    """Return a model with one cheap operator and an output as large as its input."""
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "m", [x], [y], [two])
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return model.SerializeToString()


def _times(*runs: Callable[[Any], Any], inputs: Any) -> list[list[float]]:
    times_by_run: list[list[float]] = [[] for _ in runs]
    for _ in range(_RUNS):
        for run, times in zip(runs, times_by_run, strict=True):
            began = time.perf_counter()
            run(inputs)
            times.append((time.perf_counter() - began) * 1e6)
    return times_by_run


def _stated(times: list[float]) -> str:
    return f"{min(times):.0f} (median {statistics.median(times):.0f}) us"


if __name__ == "__main__":
    main()
