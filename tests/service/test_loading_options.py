"""Session options, fixed batch dimensions and failing warm-ups at load."""

import asyncio
import gc
import weakref
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

from eventlog.settings import Home
from registry.errors import InvalidManifest
from registry.manifest import Manifest, SessionOptions, Version
from registry.store import Registry
from service.batching.queue_limits import batch_policy_of
from service.call import InferenceResponse
from service.errors import InvalidRequest, NotReady
from service.models.loaded_models import LoadedModels
from service.models.loader import VersionLoader, session_options
from service.models.routing import LoadedVersion
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol.messages import InferRequest
from service.protocol.named_rows import ArrayTensor
from service.sessions.providers import choose, only_cpu
from service.sessions.session import Session
from service.settings import Settings
from service.telemetry.statistics import Statistics
from tests.service.in_process import InProcessWorker, MemoryLog
from tests.tiny_model import as_model, register_served, register_tiny


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Registry(Home(tmp_path / "home"))


def loader(**settings: Any) -> VersionLoader:
    ids = IdGenerator("p")
    return VersionLoader(Settings(**settings), PredictionLog(MemoryLog(), ids), ids, Statistics())


def register(
    registry: Registry, folder: Path, model: onnx.ModelProto, truth: Any = 2.0, **changes: Any
) -> Version:
    """Register a model of input x [?, 2], by default a regressor with output y."""
    manifest = {
        "task": "regression",
        "held_out": True,
        "target": "truth",
        "features": [
            {"name": "a", "kind": "numeric", "input": "x", "index": 0},
            {"name": "b", "kind": "numeric", "input": "x", "index": 1},
        ],
        "prediction": {"label": "y"},
    }
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest | changes))
    frame = pd.DataFrame({"a": np.arange(10.0), "b": 1.0, "truth": truth})
    frame.to_parquet(folder / "reference.parquet", index=False)
    return register_served(
        registry,
        folder / "model.onnx",
        model="sums",
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )


def sums(rows: int | None, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 1])
    add = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    return as_model(helper.make_graph(list(nodes) or [add], "sums", [x], [y], [axes]))


def test_a_model_of_a_fixed_batch_dimension_is_served_with_batching_off(
    registry: Registry, tmp_path: Path
) -> None:
    version = register(registry, tmp_path / "files", sums(4))
    assert version.manifest.max_batch_size == 4
    assert pd.read_parquet(Path(version.path) / "reference.parquet")["prediction"].tolist() == [
        a + 1.0 for a in range(10)
    ]

    async def three_at_once() -> list[InferenceResponse]:
        worker = InProcessWorker()
        worker.models = LoadedModels(registry, loader())
        worker.pipeline = Pipeline(worker.models, worker.log)
        await worker.models.refresh()
        rows = np.ones((4, 2), np.float32)
        request = InferRequest("", [ArrayTensor("x", "FP32", rows)], [], {})
        calls = [worker.call("rest", "sums", "") for _ in range(3)]
        return await asyncio.gather(
            *(worker.pipeline.infer(call, lambda _: request) for call in calls)
        )

    answers = asyncio.run(three_at_once())
    assert [answer.run.batch_rows for answer in answers] == [4, 4, 4]
    assert answers[2].outputs["y"].data == [2.0] * 4


def test_a_wrong_number_of_rows_is_refused_with_the_expected_number(
    registry: Registry, tmp_path: Path
) -> None:
    served = loader()(register(registry, tmp_path / "files", sums(4)))
    with pytest.raises(InvalidRequest, match=r"shape \[3, 2\].*exactly 4 rows per request"):
        served.check.read([ArrayTensor("x", "FP32", np.zeros((3, 2), np.float32))])


def test_a_missing_execution_provider_is_refused_with_the_installed_providers(
    registry: Registry, tmp_path: Path
) -> None:
    version = register(registry, tmp_path / "files", sums(None), session={"providers": ["CUDA"]})
    with pytest.raises(NotReady, match=r"'CUDA' is not installed here.*CPUExecutionProvider"):
        loader()(version)
    assert loader(execution_providers="CPU")(version).version == version


def test_providers_keep_their_order_and_options() -> None:
    installed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = {"CUDA": {"device_id": "1"}, "TensorrtExecutionProvider": {"unused": "1"}}
    assert choose(["cuda", "CPUExecutionProvider"], options, installed) == [
        ("CUDAExecutionProvider", {"device_id": "1"}),
        ("CPUExecutionProvider", {}),
    ]
    assert choose([], options, installed) == [("CPUExecutionProvider", {})]


def test_service_settings_complete_and_override_the_manifest() -> None:
    settings = Settings(intra_op_threads=3, execution_providers="CUDA, CPU")
    completed = session_options(SessionOptions(providers=["CPU"]), settings)
    assert (completed.intra_op_threads, completed.providers) == (3, ["CUDA", "CPU"])
    assert session_options(SessionOptions(intra_op_threads=2), settings).intra_op_threads == 2


def test_batches_are_bounded_in_bytes_on_the_cpu_and_as_the_manifest_states() -> None:
    def bound(stated: int | None, *, on_cpu: bool) -> float:
        manifest = Manifest(max_batch_bytes=stated)
        return batch_policy_of(manifest, Settings(), batched=True, on_cpu=on_cpu).max_bytes

    assert bound(None, on_cpu=only_cpu([])) == bound(None, on_cpu=only_cpu(["cpu"])) == 8 << 20
    assert bound(None, on_cpu=only_cpu(["CUDA", "CPU"])) == inf
    assert bound(1000, on_cpu=True) == bound(1000, on_cpu=False) == 1000


@pytest.mark.parametrize("level", ["none", "basic", "extended", "all"])
def test_every_session_option_still_answers(level: Any) -> None:
    options = SessionOptions(
        intra_op_threads=2, inter_op_threads=2, graph_optimization=level, arena=False
    )
    session = Session(sums(None).SerializeToString(), options)
    answer = session.run({"x": np.array([[1, 2]], np.float32)})
    assert answer["y"].tolist() == [[3.0]]


def test_a_misspelt_session_option_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="session"):
        register(registry, tmp_path / "files", sums(None), session={"threads": 2})


def test_a_version_that_fails_its_warm_up_never_serves_and_the_previous_version_continues(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.models.loader.require_unchanged", lambda _: None)
    register_tiny(registry, tmp_path / "files")
    broken = register_tiny(registry, tmp_path / "files", description="another")
    frame = pd.read_parquet(Path(broken.path) / "reference.parquet")
    damaged = Path(broken.path) / "reference.parquet"
    damaged.chmod(0o644)
    frame.assign(price="dear").to_parquet(damaged)

    async def follow() -> LoadedModels:
        models = LoadedModels(registry, loader())
        registry.promote("tiny", "1")
        await models.refresh()
        registry.promote("tiny", "2")
        await models.refresh()
        return models

    models = asyncio.run(follow())
    served, alias = models.resolve("tiny", "")
    assert (served.version.number, alias) == ("1", "champion")
    assert not isinstance(models.versions("tiny")["2"], LoadedVersion)
    with pytest.raises(NotReady, match=r"version 2 is not ready: .*price"):
        models.resolve("tiny", "2")


def test_an_unloaded_version_releases_its_session_at_once(
    registry: Registry, tmp_path: Path
) -> None:
    register_tiny(registry, tmp_path / "files", cache={"max_bytes": 1_000})
    runners: list[weakref.ref[Any]] = []
    load = loader()

    def noting(version: Version) -> LoadedVersion:
        served: Any = load(version)
        runners.append(weakref.ref(served.queue._queue._runner))  # noqa: SLF001  # what must be freed
        return served

    async def come_and_go() -> None:
        models = LoadedModels(registry, noting)
        await models.refresh()
        assert runners[0]() is not None
        registry.unload("tiny")
        await models.refresh()

    gc.disable()  # collections are rare in a worker whose long-lived objects are frozen
    try:
        asyncio.run(come_and_go())
        assert runners[0]() is None
        assert not load.cache_bytes()
    finally:
        gc.enable()


def logistic_regression(**options: Any) -> onnx.ModelProto:
    rows = np.random.default_rng(3).normal(size=(60, 2)).astype(np.float32)
    fitted = LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int))
    types = [("x", FloatTensorType([None, 2]))]
    return to_onnx(fitted, initial_types=types, options=options or None)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ("output_label", "output_probability")),  # its ZipMap is removed at registration
        ({"zipmap": False}, ("label", "probabilities")),
    ],
)
def test_a_classifier_batches_with_and_without_zipmap(
    registry: Registry, tmp_path: Path, options: dict[str, Any], names: tuple[str, str]
) -> None:
    label, probabilities = names
    outputs = {"label": label, "probabilities": probabilities, "classes": [0, 1]}
    classifier = {"task": "classification", "truth": [0, 1] * 5, "prediction": outputs}
    model = logistic_regression(**options)
    version = register(registry, tmp_path / "files", model, **classifier)
    assert loader()(version).check.batched


def test_a_version_with_a_changed_byte_is_unready_with_the_reason(
    registry: Registry, tmp_path: Path
) -> None:
    register_tiny(registry, tmp_path / "files")
    changed = Path(register_tiny(registry, tmp_path / "files", description="b").path) / "model.onnx"
    changed.chmod(0o644)
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)

    async def follow() -> LoadedModels:
        models = LoadedModels(registry, loader())
        await models.refresh()
        return models

    models = asyncio.run(follow())
    assert models.resolve("tiny", "1")[0].version.number == "1"
    with pytest.raises(NotReady, match=r"version 2 is not ready: .*model\.onnx was changed"):
        models.resolve("tiny", "2")
