"""Streams, repository, reflection and errors of gRPC, with Triton's clients."""

import asyncio
import queue
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from eventlog.shards import shard_of, tag_of
from service.grpc.servicer import SERVICE
from service.protocol.prediction_ids import prediction_id_of
from tests.service.conftest import Service


@pytest.fixture(scope="module", params=["native", "aio"])
def serving(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[Service]:
    """A service that listens on every address of this machine."""
    root = tmp_path_factory.mktemp("grpc")
    settings = {"host": "::", "allow_anonymous": "true", "max_grpc_calls": "8"}
    with Service(root, free_port, **settings, grpc=request.param) as service:
        service.start_champion()
        yield service


@pytest.fixture
def at(serving: Service) -> str:
    return f"127.0.0.1:{serving.grpc_port}"


def tensor_inputs(price: float = 0.5, datatype: str = "FP32") -> list[Any]:
    kind = np.float32 if datatype == "FP32" else np.float64
    prices = triton.InferInput("price", [1, 1], datatype)
    prices.set_data_from_numpy(np.array([[price]], kind))
    colours = triton.InferInput("colour", [1, 1], "BYTES")
    colours.set_data_from_numpy(np.array([["red"]], object))
    return [prices, colours]


def test_a_stream_answers_in_order_and_outlives_a_bad_request(at: str) -> None:
    heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(at) as client:
        client.start_stream(lambda result, error: heard.put((result, error)))
        for n in range(200):
            wrong = n % 50 == 49
            inputs = tensor_inputs(n, "FP64" if wrong else "FP32")
            client.async_stream_infer("tiny", inputs, request_id=str(n))
        replies = [heard.get(timeout=30) for _ in range(200)]
        client.stop_stream()
    refused = [n for n, (_, error) in enumerate(replies) if error is not None]
    assert refused == [49, 99, 149, 199]
    assert "price" in str(replies[49][1])
    ids = [r.get_response().id for r, error in replies if error is None]
    assert ids == [str(n) for n in range(200) if n % 50 != 49]


def test_labels_join_by_prediction_id_and_by_request_id(at: str, serving: Service) -> None:
    def asked(client: Any, **parameters: str) -> str:
        reply = client.infer("tiny", tensor_inputs(), parameters=parameters).get_response()
        found: str = reply.parameters["prediction_id"].string_param
        return found

    with triton.InferenceServerClient(at) as client:
        ours, own = asked(client), asked(client, request_id="booking-17")
    assert ours.startswith(f"{tag_of('tiny')}-")
    assert own == prediction_id_of("tiny", "booking-17")
    named = [{"prediction_id": ours}, {"model": "tiny", "request_id": "booking-17"}]
    reply = serving.http.post("/v1/feedback", json=[one | {"label": 1} for one in named])
    assert reply.status_code == 200, reply.text
    labels = [one.event for one in serving.events()][-2:]
    assert [(one.prediction_id, one.verified) for one in labels] == [(ours, True), (own, True)]
    assert {one.shard for one in labels} == {shard_of("tiny")}


def test_a_cancelled_stream_leaves_no_request_behind(at: str, serving: Service) -> None:
    message = pb.ModelInferRequest(model_name="tiny")
    with grpc.insecure_channel(at) as channel:
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        replies = stream(iter([message.SerializeToString()] * 5))
        first = pb.ModelStreamInferResponse.FromString(next(replies))
        assert "missing" in first.error_message
        replies.cancel()
    with triton.InferenceServerClient(at) as client:
        assert client.infer("tiny", tensor_inputs()).as_numpy("label") is not None


async def test_the_asyncio_client_streams_too(at: str) -> None:
    async with triton_aio.InferenceServerClient(at) as client:

        async def asked() -> Any:
            for n in range(5):
                yield {"model_name": "tiny", "inputs": tensor_inputs(n), "request_id": str(n)}

        ids = [
            result.get_response().id
            async for result, error in client.stream_infer(asked())
            if not error
        ]
    assert ids == [str(n) for n in range(5)]


def test_models_are_listed_unloaded_loaded_and_counted(at: str, serving: Service) -> None:
    with triton.InferenceServerClient(at) as client:
        client.infer("tiny", tensor_inputs())
        (reported,) = client.get_inference_statistics("tiny").model_stats
        assert reported.version == "1"
        assert reported.inference_stats.success.count >= 1
        assert (
            sum(one.compute_infer.count for one in reported.batch_stats) == reported.execution_count
        )
        client.unload_model("tiny")
        (entry,) = client.get_model_repository_index().models
        assert (entry.name, entry.state) == ("tiny", "UNAVAILABLE")
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            client.infer("tiny", tensor_inputs())
        client.load_model("tiny")
        assert client.is_model_ready("tiny")
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.load_model("nobody")


def test_the_services_describe_themselves(at: str) -> None:
    with grpc.insecure_channel(at) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        pool = DescriptorPool(database)
        methods = pool.FindServiceByName(SERVICE).methods_by_name
        assert methods["ModelStreamInfer"].output_type.name == "ModelStreamInferResponse"
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_resolves_services_messages_and_methods(at: str, version: str) -> None:
    reflection = f"grpc.reflection.{version}.ServerReflection"
    known = (SERVICE, f"{SERVICE}.ModelInfer", "inference.ModelInferRequest", reflection)
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        for symbol in (*known, f"{SERVICE}.NoMethod", "no.Service.Method")
    ]
    with grpc.insecure_channel(at) as channel:
        call = channel.stream_stream(
            f"/{reflection}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        replies = list(call(iter(asked)))
    kinds = [reply.WhichOneof("message_response") for reply in replies]
    assert kinds == ["file_descriptor_response"] * len(known) + ["error_response"] * 2


def test_oversized_calls_are_refused_and_affect_no_other_call(at: str) -> None:
    with triton.InferenceServerClient(at) as client:
        with pytest.raises(InferenceServerException) as refused:
            client.infer("tiny", tensor_inputs(), headers={"x-long": "v" * 20_000})
        assert "RESOURCE_EXHAUSTED" in str(refused.value)
        assert client.infer("tiny", tensor_inputs(), compression_algorithm="gzip") is not None

    async def crowd() -> list[str]:
        async with grpc.aio.insecure_channel(at) as channel:
            streams = [channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")() for _ in range(12)]
            message = pb.ModelInferRequest(model_name="tiny").SerializeToString()
            codes = []
            for stream in streams:
                try:
                    await stream.write(message)
                    await stream.read()
                    codes.append("OK")
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code().name)
                except asyncio.InvalidStateError:
                    codes.append((await stream.code()).name)
            return codes

    codes = asyncio.run(crowd())
    assert 0 < codes.count("OK") <= 8  # fewer where calls of before are still being ended
    assert "RESOURCE_EXHAUSTED" in codes
    # grpc's client calls it an internal error where a message and the refusal cross on the way.
    assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "INTERNAL"}


def test_a_passed_deadline_is_reported_as_deadline_exceeded(at: str) -> None:
    with (
        triton.InferenceServerClient(at) as client,
        pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"),
    ):
        client.infer("tiny", tensor_inputs(), timeout=1)


@pytest.mark.parametrize("near", ["127.0.0.1", "[::1]"])
def test_both_protocols_listen_on_every_address(serving: Service, near: str) -> None:
    url = f"http://{near}:{serving.port}/v2/health/live"
    assert httpx.get(url, trust_env=False).is_success
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"{near}:{serving.grpc_port}", options) as channel:
        grpc.channel_ready_future(channel).result(30)
