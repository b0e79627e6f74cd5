"""A real service with models of any shape, called by tritonclient over each transport."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto

from tests.service.any_shape import identity, image
from tests.service.conftest import Service
from tests.tiny_model import as_model, register_served

MODELS: dict[str, Any] = {
    "image": (image(), "pixels", "means", "FP32"),
    "scalar": (identity(), "x", "y", "FP32"),
    "texts": (identity(None, None, kind=TensorProto.STRING), "x", "y", "BYTES"),
    "cube": (identity(2, 3, 4, kind=TensorProto.INT16), "x", "y", "INT16"),
}
ARRAYS: dict[str, Any] = {
    "image": np.random.default_rng(3).standard_normal((2, 3, 96, 128)).astype(np.float32),
    "scalar": np.array(2.5, np.float32),
    "texts": np.array([["grün", ""], ["a", "b c"]], dtype=np.object_),
    "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("shapes")
    with Service(root, free_port) as service:
        for name, (graph, *_) in MODELS.items():
            file = root / f"{name}.onnx"
            file.write_bytes(as_model(graph).SerializeToString())
            register_served(service.registry, file, model=name)
        service.start()
        yield service


def expected(service: Service, name: str) -> Any:
    _, given, answered, _ = MODELS[name]
    session = onnxruntime.InferenceSession(service.root / f"{name}.onnx")
    return session.run([answered], {given: ARRAYS[name]})[0]


def same(found: Any, wanted: Any) -> None:
    if wanted.dtype == np.object_:
        found = np.array([text.decode() for text in found.ravel()], object).reshape(found.shape)
        assert found.tolist() == wanted.tolist()
    else:
        assert (found.dtype, found.shape, found.tobytes()) == (
            wanted.dtype, wanted.shape, wanted.tobytes()
        )  # fmt: skip


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_rest_replies_are_bit_identical(running: Service, name: str, binary: bool) -> None:
    _, given, answered, datatype = MODELS[name]
    client = triton_http.InferenceServerClient(f"127.0.0.1:{running.port}")
    tensor = triton_http.InferInput(given, list(ARRAYS[name].shape), datatype)
    tensor.set_data_from_numpy(ARRAYS[name], binary_data=binary)
    output = triton_http.InferRequestedOutput(answered, binary_data=binary)
    result = client.infer(name, [tensor], outputs=[output]).as_numpy(answered)
    if datatype == "BYTES" and not binary:
        result = np.array([str(text).encode() for text in result.ravel()], object).reshape(
            result.shape
        )
    same(result, expected(running, name))


@pytest.mark.parametrize("name", MODELS)
def test_grpc_replies_are_bit_identical(running: Service, name: str) -> None:
    _, given, answered, datatype = MODELS[name]
    client = triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc_port}")
    tensor = triton_grpc.InferInput(given, list(ARRAYS[name].shape), datatype)
    tensor.set_data_from_numpy(ARRAYS[name])
    same(client.infer(name, [tensor]).as_numpy(answered), expected(running, name))


def test_named_rows_are_refused_naming_the_route(running: Service) -> None:
    reply = httpx.post(
        f"{running.url}/predict", json={"model": "image", "rows": [{"a": 1}]}, trust_env=False
    )
    assert reply.status_code == 400
    assert "POST /v2/models/{model}/infer" in reply.json()["error"]


def test_events_of_images_contain_summaries(running: Service) -> None:
    found = [r.event for r in running.events() if getattr(r.event, "model", "") == "image"]
    answered: list[Any] = [event for event in found if getattr(event, "outcome", "") == "ok"]
    assert answered
    brightness = ARRAYS["image"].astype(np.float64).mean(axis=(1, 2, 3))
    for event in answered:
        assert np.allclose(event.summaries["pixels: brightness"], brightness, atol=1e-6)
        assert event.payload == "digest" or event.inclusion < 1
