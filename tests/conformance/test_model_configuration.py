"""The model configuration that Triton's clients read."""

import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import model_config_pb2

from tests.service.conftest import Service


def test_both_clients_of_triton_read_the_same_configuration(echoes: Service) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{echoes.port}") as client:
        stated = client.get_model_config("echo-fp32")
        metadata = client.get_model_metadata("echo-fp32", "1")
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{echoes.grpc_port}") as client:
        config = client.get_model_config("echo-fp32", "1").config
    assert (config.name, config.max_batch_size) == ("echo-fp32", stated["max_batch_size"])
    assert config.max_batch_size > 0
    assert config.HasField("dynamic_batching")
    assert "dynamic_batching" in stated
    for mine, theirs, tensors in (
        (stated["input"], config.input, metadata["inputs"]),
        (stated["output"], config.output, metadata["outputs"]),
    ):
        assert [one["name"] for one in mine] == [one.name for one in theirs]
        for found, encoded, tensor in zip(mine, theirs, tensors, strict=True):
            name = model_config_pb2.DataType.Name(encoded.data_type)
            assert found["data_type"] == name == f"TYPE_{tensor['datatype']}"
            assert found["dims"] == list(encoded.dims) == tensor["shape"][1:]


def test_texts_are_strings(echoes: Service) -> None:
    reply = echoes.http.get("/v2/models/echo-bytes/config")
    assert reply.status_code == 200
    assert {one["data_type"] for one in reply.json()["input"]} == {"TYPE_STRING"}


def test_the_configuration_of_an_unknown_model_is_refused_alike(echoes: Service) -> None:
    reply = echoes.http.get("/v2/models/none/config")
    assert (reply.status_code, "no model" in reply.json()["error"]) == (404, True)
