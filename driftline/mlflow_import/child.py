"""`python -m driftline.mlflow_import.child`: a process with limits that opens a model's folder.

The process runs an ONNX model on its input example, or converts a model of another flavor. The
conversion loads pickles, which runs code of the model's author, so it requires `--trust`.
"""

import importlib
import json
import os
import pickle
import resource
import subprocess
import sys
from typing import Any

import msgspec

from driftline.mlflow_import.package import Package, UnsupportedModel
from eventlog.parent_death import child_environment, end_with_parent
from registry.bounded.bounds import bounds_of

CONVERTED = "converted.onnx"


class ChildWork(msgspec.Struct, frozen=True):
    """The work of the child process; a conversion writes its result to the package's folder."""

    package: Package
    convert: bool
    memory: int  # limit of the process's data in bytes, 0 for no limit


def run_child(package: Package, *, convert: bool) -> None:
    """Run the input example or convert the model; raises UnsupportedModel with the reason."""
    size = sum(path.stat().st_size for path in package.folder.rglob("*") if path.is_file())
    bounds = bounds_of(size)
    work = ChildWork(package, convert, bounds.memory)
    step = "the conversion" if convert else "the run of the input example"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "driftline.mlflow_import.child"],
            input=msgspec.json.encode(work), capture_output=True, timeout=bounds.seconds,
            env=child_environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UnsupportedModel(f"{step} took more than {bounds.seconds:g} seconds") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise UnsupportedModel(f"{step} failed: {lines[-1][:400] if lines else done.returncode}")


def main() -> None:
    """Read the work from standard input and do it; print the reason of an error as last line."""
    end_with_parent()
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=ChildWork)
    if work.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (work.memory, resource.RLIM_INFINITY))
    try:
        if work.convert:
            _convert(work.package)
        else:
            _try_example(work.package)
    except Exception as error:  # noqa: BLE001  # the author's code may raise any error
        text = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {text}")
    os._exit(0)  # native libraries may abort while they are unloaded


def _convert(package: Package) -> None:
    from driftline.converters import to_onnx  # noqa: PLC0415

    rows = _example(package)
    (package.folder / CONVERTED).write_bytes(to_onnx(_load(package), rows))


def _load(package: Package) -> Any:
    flavor = package.convertible
    settings = package.flavors[flavor]
    if flavor == "sklearn":
        kind = settings.get("serialization_format", "pickle")
        if kind not in {"pickle", "cloudpickle"}:
            raise UnsupportedModel(f"serialization_format {kind}: expected pickle or cloudpickle")
        with (package.folder / str(settings.get("pickled_model", "model.pkl"))).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - trusted by the user; runs in this child process only
    path = str(package.folder / str(settings["data"]))
    if flavor == "xgboost":
        xgboost = importlib.import_module("xgboost")
        name = str(settings.get("model_class", "xgboost.sklearn.XGBModel")).rpartition(".")[2]
        model = getattr(xgboost, name)()
        model.load_model(path)
        return model
    raise UnsupportedModel(f"flavor {flavor}: register it from Python with driftline.register")


def _try_example(package: Package) -> None:
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    rows = _example(package)
    if rows is None:
        return
    path = package.folder / str(package.flavors["onnx"].get("data", "model.onnx"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) == 1 and hasattr(rows, "columns"):
        tensors = {inputs[0].name: rows.to_numpy()}
    elif hasattr(rows, "columns"):
        tensors = {tensor.name: rows[[tensor.name]].to_numpy() for tensor in inputs}
    else:
        tensors = rows if isinstance(rows, dict) else {inputs[0].name: rows}
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    session.run(
        None,
        {
            tensor.name: np.asarray(tensors[tensor.name]).astype(kinds.get(tensor.type, object))
            for tensor in inputs
        },
    )


def _example(package: Package) -> Any:
    """Return the input example: a DataFrame, an array, arrays by name, or None."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    path = package.folder / package.example
    if not package.example or not path.is_file():
        return None
    content = json.loads(path.read_text())
    if isinstance(content, dict) and "data" in content:
        return pd.DataFrame(content["data"], columns=content.get("columns"))
    if isinstance(content, dict) and "inputs" in content:
        content = content["inputs"]
    if isinstance(content, dict):
        return {name: np.asarray(value) for name, value in content.items()}
    return np.asarray(content)


if __name__ == "__main__":
    main()
