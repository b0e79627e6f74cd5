"""Models of every served shape, from registration to prediction, on ONNX Runtime."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from onnx import TensorProto, helper

from eventlog.settings import Home
from registry.errors import InvalidManifest, InvalidModel
from registry.manifest import Version
from registry.store import Registry
from service.errors import InvalidRequest, RunFailed
from service.models.loaded_models import LoadedModels
from service.models.loader import VersionLoader
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol import json
from service.settings import Settings
from service.telemetry.statistics import Statistics
from tests.service.in_process import InProcessWorker, MemoryLog
from tests.tiny_model import as_model, register_served

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
node, info = helper.make_node, helper.make_tensor_value_info


class KindBench:
    """A registry, and a worker's inside over it without a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(Home(folder / "home"))
        ids = IdGenerator("p")
        self.log = MemoryLog()
        log = PredictionLog(self.log, ids)
        self.models = LoadedModels(self.registry, VersionLoader(Settings(), log, ids, Statistics()))
        self.pipeline = Pipeline(self.models, log)

    def register(self, graph: onnx.GraphProto, frame: pd.DataFrame, **manifest: Any) -> Version:
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        (files / "model.onnx").write_bytes(as_model(graph).SerializeToString())
        stated = {"held_out": True, "target": "truth", "task": "regression"} | manifest
        (files / "manifest.yaml").write_text(yaml.safe_dump(stated))
        frame.to_parquet(files / "reference.parquet")
        return register_served(
            self.registry,
            files / "model.onnx",
            model="kind",
            manifest=files / "manifest.yaml",
            reference=files / "reference.parquet",
        )

    async def ask(self, **inputs: tuple[str, list[int], list[Any]]) -> Any:
        if self.models.revision < 0:
            await self.models.refresh()
        tensors = [
            {"name": name, "datatype": datatype, "shape": shape, "data": data}
            for name, (datatype, shape, data) in inputs.items()
        ]
        body = json.encode({"inputs": tensors})
        call = InProcessWorker().call("rest", "kind", "")
        return await self.pipeline.infer(call, lambda _: json.decode_request(body))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KindBench:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return KindBench(tmp_path)


def _columns(*names: str, of: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": "numeric", "input": of, "index": index}
        for index, name in enumerate(names)
    ]


NUMBERS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": 1.0, "truth": [0.0, 1.0, 1.0, 0.0]})


def _trees(columns: int | None) -> onnx.GraphProto:
    """What the converters of XGBoost and LightGBM make: one stump on the first column."""
    stump = node(
        "TreeEnsembleClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_int64s=[0, 1],
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LT", "LEAF", "LEAF"],
        nodes_values=[1.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[1, 0, 0],
        class_treeids=[0, 0],
        class_nodeids=[1, 2],
        class_ids=[0, 0],
        class_weights=[-1.0, 1.0],
        post_transform="LOGISTIC",
    )
    return helper.make_graph(
        [stump, node("Cast", ["scores"], ["probabilities"], to=FLOAT)],
        "trees",
        [info("X", FLOAT, [None, columns])],
        [info("label", INT64, [None]), info("probabilities", FLOAT, [None, None])],
    )


TREES = {
    "task": "classification",
    "features": _columns("a", "b", of="X"),
    "prediction": {"label": "label", "probabilities": "probabilities", "classes": [0, 1]},
}


@pytest.mark.parametrize("columns", [2, None])
async def test_trees_as_converted_by_boosting_libraries(
    bench: KindBench, columns: int | None
) -> None:
    version = bench.register(_trees(columns), NUMBERS, **TREES)
    assert version.manifest.signature is not None
    assert version.manifest.signature.inputs[0].shape == [-1, 2]
    answer = await bench.ask(X=("FP32", [2, 2], [1.0, 1.0, 2.0, 1.0]))
    assert answer.outputs["label"].data == [0, 1]
    assert np.allclose(
        np.array(answer.outputs["probabilities"].data)[[1, 3]], [0.2689, 0.7311], atol=1e-3
    )
    with pytest.raises(InvalidRequest, match=r"shape \[1, 3\]; expected FP32 of shape \[-1, 2\]"):
        await bench.ask(X=("FP32", [1, 3], [1.0, 1.0, 1.0]))


async def test_requests_to_an_open_width_still_share_a_run(bench: KindBench) -> None:
    bench.register(_trees(None), NUMBERS, **TREES)
    await bench.models.refresh()
    answers = await asyncio.gather(
        *(bench.ask(X=("FP32", [1, 2], [value, 1.0])) for value in (1.0, 2.0, 3.0))
    )
    assert [answer.run.batch_rows for answer in answers] == [3, 3, 3]
    assert [answer.outputs["label"].data for answer in answers] == [[0], [1], [1]]


async def test_several_inputs_and_outputs_of_several_kinds(bench: KindBench) -> None:
    graph = helper.make_graph(
        [
            node("LabelEncoder", ["word"], ["code"], domain="ai.onnx.ml",
                 keys_strings=["red"], values_floats=[10.0], default_float=0.0),
            node("Cast", ["count"], ["counted"], to=FLOAT),
            node("Add", ["price", "code"], ["priced"]),
            node("Add", ["priced", "counted"], ["y"]),
            node("Identity", ["word"], ["said"]),
            node("Greater", ["y", "ten"], ["dear"]),
        ],
        "several",
        [info("price", FLOAT, [None, 1]), info("word", STRING, [None, 1]),
         info("count", INT64, [None, 1])],
        [info("y", FLOAT, [None, 1]), info("said", STRING, [None, 1]),
         info("dear", TensorProto.BOOL, [None, 1])],
        [helper.make_tensor("ten", FLOAT, [1], [10.0])],
    )  # fmt: skip
    frame = pd.DataFrame(
        {"price": [1.0, 2.0], "word": ["red", None], "count": [1, 2], "truth": 1.0}
    )
    features = [
        {"name": "price", "kind": "numeric"},
        {"name": "word", "kind": "categorical", "nullable": True},
        {"name": "count", "kind": "numeric"},
    ]
    bench.register(graph, frame, features=features, prediction={"label": "y"})

    def ask(price: float, word: str, count: int) -> Any:
        return bench.ask(
            count=("INT64", [1, 1], [count]),
            word=("BYTES", [1, 1], [word]),
            price=("FP32", [1, 1], [price]),
        )

    await bench.models.refresh()
    red, other = await asyncio.gather(ask(1.0, "red", 2), ask(1.0, "grün", 3))
    assert {red.run.batch_rows, other.run.batch_rows} == {2}
    assert {name: t.data for name, t in red.outputs.items()} == {
        "y": [13.0], "said": ["red"], "dear": [True]
    }  # fmt: skip
    assert {name: t.data for name, t in other.outputs.items()} == {
        "y": [4.0], "said": ["grün"], "dear": [False]
    }  # fmt: skip


def _sums(*nodes: onnx.NodeProto, **outputs: list[int | None]) -> onnx.GraphProto:
    """y = a + b, and further nodes and FP32 outputs."""
    return helper.make_graph(
        [node("ReduceSum", ["x", "axes"], ["y"], keepdims=1), *nodes],
        "sums",
        [info("x", FLOAT, [None, 2])],
        [info("y", FLOAT, [None, 1]), *(info(n, FLOAT, shape) for n, shape in outputs.items())],
        [helper.make_tensor("axes", INT64, [1], [1])],
    )


SUMS = {"features": _columns("a", "b", of="x"), "prediction": {"label": "y"}}


async def test_a_scalar_output_is_returned_and_its_requests_run_separately(
    bench: KindBench,
) -> None:
    mean = node("ReduceMean", ["x"], ["mean"], keepdims=0)
    bench.register(_sums(mean, mean=[]), NUMBERS, **SUMS)
    await bench.models.refresh()
    answers = await asyncio.gather(
        *(bench.ask(x=("FP32", [2, 2], [value] * 4)) for value in (1.0, 5.0))
    )
    assert [(a.outputs["mean"].shape, a.outputs["mean"].data) for a in answers] == [
        ([], [1.0]), ([], [5.0])
    ]  # fmt: skip
    assert [a.run.batch_rows for a in answers] == [2, 2]
    bytes_of = json.encode_response(
        model="kind", version="1", request_id="", parameters={}, outputs=answers[0].outputs
    )
    assert b'"shape":[],"data":[1.0]' in bytes_of


async def test_requests_with_outputs_of_any_length_run_separately(bench: KindBench) -> None:
    positive = [
        node("Greater", ["y", "zero"], ["is"]),
        node("Compress", ["y", "flat"], ["kept"], axis=0),
    ]
    graph = _sums(
        positive[0], node("Reshape", ["is", "minus"], ["flat"]), positive[1], kept=[None, 1]
    )
    graph.initializer.extend(
        [
            helper.make_tensor("zero", FLOAT, [1], [0.0]),
            helper.make_tensor("minus", INT64, [1], [-1]),
        ]
    )
    bench.register(graph, NUMBERS, **SUMS)
    await bench.models.refresh()
    answers = await asyncio.gather(
        *(bench.ask(x=("FP32", [1, 2], [value, 0.0])) for value in (3.0, -3.0))
    )
    assert [a.outputs["kept"].data for a in answers] == [[3.0], []]
    assert [a.outputs["kept"].shape for a in answers] == [[1, 1], [0, 1]]


async def test_an_output_size_that_depends_on_the_values_is_returned(bench: KindBench) -> None:
    graph = _sums(
        node("Transpose", ["x"], ["turned"]), node("MatMul", ["x", "turned"], ["gram"]),
        gram=[None, None],
    )  # fmt: skip
    bench.register(graph, NUMBERS, **SUMS)
    answer = await bench.ask(x=("FP32", [3, 2], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    assert answer.outputs["gram"].shape == [3, 3]
    assert answer.outputs["y"].data == [1.0, 1.0, 2.0]


async def test_a_request_that_the_session_refuses_affects_no_other_request(
    bench: KindBench,
) -> None:
    graph = _sums(
        node("Cast", ["y"], ["whole"], to=INT64),
        node("Gather", ["table", "whole"], ["found"]),
        found=[None, 1],
    )
    graph.initializer.append(helper.make_tensor("table", FLOAT, [5], [0.0, 10.0, 20.0, 30.0, 40.0]))
    bench.register(graph, NUMBERS, **SUMS)
    await bench.models.refresh()
    asked = [bench.ask(x=("FP32", [1, 2], [value, 0.0])) for value in (1.0, 77.0, 2.0)]
    good, bad, also_good = await asyncio.gather(*asked, return_exceptions=True)
    assert good.outputs["found"].data == [10.0]
    assert also_good.outputs["found"].data == [20.0]
    assert isinstance(bad, InvalidRequest | RunFailed)
    assert "77" not in str(bad)
    outcomes = sorted(event.outcome for event in bench.log.events)
    assert outcomes.count("ok") == 2
    assert {event.run_us > 0 for event in bench.log.events if event.outcome == "ok"} == {True}


def test_a_scalar_input_has_no_features(bench: KindBench) -> None:
    graph = helper.make_graph(
        [node("Identity", ["x"], ["y"])], "scalar", [info("x", FLOAT, [])], [info("y", FLOAT, [])]
    )
    with pytest.raises(InvalidManifest, match=r"'x' has shape \[\]: its columns cannot be feat"):
        bench.register(graph, NUMBERS, features=_columns("a", of="x"), prediction={"label": "y"})


def test_an_input_with_extra_dimensions_is_refused_with_the_expected_shape(
    bench: KindBench,
) -> None:
    graph = helper.make_graph(
        [node("Identity", ["x"], ["y"])],
        "cube",
        [info("x", FLOAT, [None, None, 2])],
        [info("y", FLOAT, [None, None, 2])],
    )
    with pytest.raises(InvalidManifest, match=r"\[-1, -1, 2\].*\[N, 1\] or \[N, k\]"):
        bench.register(graph, NUMBERS, features=_columns("a", of="x"), prediction={"label": "y"})


def _sequence(kind: Any) -> Any:
    return helper.make_sequence_type_proto(kind)


_TENSOR = helper.make_tensor_type_proto(FLOAT, [None])
_MAP = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))


@pytest.mark.parametrize(
    ("operator", "kind", "fix"),
    [
        ("SequenceConstruct", _sequence(_TENSOR), r"'z' is a seq\(tensor.*ConcatFromSequence"),
        (
            "Optional",
            helper.make_optional_type_proto(_TENSOR),
            r"'z' is a optional.*always present",
        ),
    ],
)
def test_sequences_are_refused_with_the_fix(
    bench: KindBench, operator: str, kind: Any, fix: str
) -> None:
    graph = _sums(node(operator, ["x"], ["z"]))
    graph.output.append(helper.make_value_info("z", kind))
    with pytest.raises(InvalidModel, match=fix):
        bench.register(graph, NUMBERS, **SUMS)


def test_a_dictionary_as_input_is_refused_with_the_fix(bench: KindBench) -> None:
    vectorizer = node(
        "DictVectorizer", ["d"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"]
    )
    graph = helper.make_graph(
        [vectorizer], "dict", [helper.make_value_info("d", _MAP)], [info("y", FLOAT, [None, 2])]
    )
    with pytest.raises(InvalidModel, match=r"'d' is a map\(string.*ColumnTransformer"):
        bench.register(graph, NUMBERS, features=_columns("a", of="d"), prediction={"label": "y"})


def test_an_unknown_execution_provider_is_refused_at_registration(bench: KindBench) -> None:
    with pytest.raises(InvalidManifest, match=r"no 'CUDDA'; expected some of .*CUDA.*CPU"):
        bench.register(_sums(), NUMBERS, **SUMS, session={"providers": ["CUDDA", "cpu"]})
