"""Small real models, one per datatype: `echo` returns its input, `ones` returns a 1 per row.

What is right is what ONNX Runtime answers when it is asked directly.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import yaml
from onnx import TensorProto, helper

from registry.datatypes import NUMPY, from_onnx
from registry.store import Registry
from tests.tiny_model import as_model, register_served

WIDTH = 2  # columns of every input
_ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
DATATYPES = tuple(_ONNX_TYPES)


def name_of(datatype: str) -> str:
    """The model that echoes this datatype."""
    return f"echo-{datatype.lower()}"


def echo(datatype: str) -> onnx.ModelProto:
    """x -> echo = x, and ones = one 1.0 for each row."""
    kind = _ONNX_TYPES[datatype]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    constants = [
        helper.make_tensor("start", TensorProto.INT64, [1], [0]),
        helper.make_tensor("end", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Identity", ["x"], ["echo"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "start", "end"], ["rows"]),
        helper.make_node("ConstantOfShape", ["rows"], ["ones"], value=one),
    ]
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("x", kind, [None, WIDTH])],
        [
            helper.make_tensor_value_info("echo", kind, [None, WIDTH]),
            helper.make_tensor_value_info("ones", TensorProto.FLOAT, [None]),
        ],
        constants,
    )
    return as_model(graph)


def direct(datatype: str, x: Any) -> dict[str, Any]:
    """What ONNX Runtime answers when it is asked directly."""
    session = onnxruntime.InferenceSession(
        echo(datatype).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert from_onnx(session.get_inputs()[0].type) == datatype
    return dict(zip(("echo", "ones"), session.run(["echo", "ones"], {"x": x}), strict=True))


def register_echo(registry: Registry, folder: Path, datatype: str) -> None:
    """Register the model of this datatype under its name."""
    text = datatype == "BYTES"
    manifest = {
        "task": "regression",
        "held_out": True,
        "target": "truth",
        "features": [
            {
                "name": f"x{index}",
                "kind": "categorical" if text else "numeric",
                "nullable": text or datatype.startswith("FP"),
                "input": "x",
                "index": index,
            }
            for index in range(WIDTH)
        ],
        "prediction": {"label": "ones"},
    }
    values: Any = ["a", "b"] * 50 if text else np.resize([0, 1], 100).astype(NUMPY[datatype])
    if datatype == "FP16":
        values = values.astype(np.float32)  # Parquet of pandas has no half floats of its own
    frame = pd.DataFrame({"x0": values, "x1": values, "truth": np.arange(100) / 7.0})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(echo(datatype).SerializeToString())
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    frame.to_parquet(folder / "reference.parquet", index=False)
    register_served(
        registry,
        folder / "model.onnx",
        model=name_of(datatype),
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )
