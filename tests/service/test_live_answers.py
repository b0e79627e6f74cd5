"""Predictions of a running service: equal to ONNX Runtime's, correctly assigned, all logged."""

import asyncio
import threading
from typing import Any

import bentoml
import grpc
import httpx
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from driftline import Client, RequestId
from eventlog.events import FeedbackEvent, PredictionEvent
from service.protocol import open_inference_pb2 as pb
from tests.tiny_model import tiny_classifier

pytestmark = pytest.mark.untraced

PRICES = np.array([[0.1], [-2.7182817], [np.nan], [1e-30], [3.3333333]], np.float32)
COLOURS = np.array([["red"], ["blue"], [""], ["red"], ["green"]], object)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    model = tiny_classifier().SerializeToString()
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def direct(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """What ONNX Runtime answers when it is asked directly."""
    label, probabilities = session.run(
        ["label", "probabilities"], {"price": PRICES, "colour": COLOURS}
    )
    return {"label": label, "probabilities": probabilities}


def _body(prices: Any = PRICES, colours: Any = COLOURS, **more: Any) -> dict[str, Any]:
    numbers = [None if np.isnan(value) else float(value) for value in prices.ravel()]
    shape = [len(prices), 1]
    return {
        "inputs": [
            {"name": "price", "datatype": "FP32", "shape": shape, "data": numbers},
            {
                "name": "colour",
                "datatype": "BYTES",
                "shape": shape,
                "data": colours.ravel().tolist(),
            },
        ],
        **more,
    }


def _arrays(answer: dict[str, Any]) -> dict[str, Any]:
    dtypes = {"INT64": np.int64, "FP32": np.float32}
    return {
        out["name"]: np.array(out["data"], dtypes[out["datatype"]]).reshape(out["shape"])
        for out in answer["outputs"]
    }


def _same_bits(got: Any, expected: Any) -> bool:
    return got.shape == expected.shape and got.tobytes() == expected.tobytes()


def _triton(module: Any) -> list[Any]:
    price = module.InferInput("price", PRICES.shape, "FP32")
    colour = module.InferInput("colour", COLOURS.shape, "BYTES")
    return [price, colour]


def test_rest_predictions_equal_onnx_runtimes_bit_for_bit(
    service: Any, direct: dict[str, Any]
) -> None:
    reply = service.http.post("/v2/models/tiny/infer", json=_body(id="mine"))
    answer = reply.json()
    got = _arrays(answer)
    assert all(_same_bits(got[name], direct[name]) for name in direct)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("tiny", "1", "mine")
    assert {"prediction_id", "batch_id", "batch_rows", "batch_offset", "queue_us", "run_us"} <= set(
        answer["parameters"]
    )


def test_grpc_predictions_equal_onnx_runtimes_bit_for_bit(
    service: Any, direct: dict[str, Any]
) -> None:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny", "1")
        assert [i.name for i in client.get_model_metadata("tiny").inputs] == ["price", "colour"]
        price, colour = _triton(triton_grpc)
        price.set_data_from_numpy(PRICES)
        colour.set_data_from_numpy(COLOURS)
        result = client.infer("tiny", [price, colour])
    assert all(_same_bits(result.as_numpy(name), direct[name]) for name in direct)


def test_typed_grpc_contents_get_the_same_replies(service: Any, direct: dict[str, Any]) -> None:
    request = pb.ModelInferRequest(model_name="tiny", model_version="champion")
    price = request.inputs.add(name="price", datatype="FP32", shape=[5, 1])
    price.contents.fp32_contents.extend(PRICES.ravel().tolist())
    colour = request.inputs.add(name="colour", datatype="BYTES", shape=[5, 1])
    colour.contents.bytes_contents.extend(text.encode() for text in COLOURS.ravel())
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        response = infer(request)
    assert response.model_version == "1"
    assert response.parameters["prediction_id"].string_param
    answered = {output.name: output for output in response.outputs}
    probabilities = np.array(answered["probabilities"].contents.fp32_contents, np.float32)
    assert _same_bits(probabilities.reshape(5, 2), direct["probabilities"])


def test_tritons_http_client_works(service: Any, direct: dict[str, Any]) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        price, colour = _triton(triton_http)
        price.set_data_from_numpy(np.nan_to_num(PRICES), binary_data=False)
        colour.set_data_from_numpy(COLOURS, binary_data=False)
        wanted = [triton_http.InferRequestedOutput("probabilities", binary_data=False)]
        result = client.infer("tiny", [price, colour], outputs=wanted)
    assert _same_bits(result.as_numpy("probabilities"), direct["probabilities"])
    assert result.as_numpy("label") is None


def test_tritons_http_client_works_with_raw_bytes_both_ways(
    service: Any, direct: dict[str, Any]
) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        price, colour = _triton(triton_http)
        price.set_data_from_numpy(PRICES)
        colour.set_data_from_numpy(COLOURS)
        everything = client.infer("tiny", [price, colour])
        wanted = [
            triton_http.InferRequestedOutput("label", binary_data=False),
            triton_http.InferRequestedOutput("probabilities"),
        ]
        mixed = client.infer("tiny", [price, colour], outputs=wanted)
    for result in (everything, mixed):
        assert all(_same_bits(result.as_numpy(name), direct[name]) for name in direct)
    assert "data" in mixed.get_output("label")
    assert mixed.get_output("probabilities")["parameters"] == {"binary_data_size": 40}


async def test_every_caller_gets_its_own_rows_from_shared_batches(
    service: Any, session: onnxruntime.InferenceSession
) -> None:
    chance = np.random.default_rng(3)
    prices = chance.normal(size=(400, 1)).astype(np.float32)
    colours = chance.choice(np.array(["red", "blue"], object), (400, 1))
    how: dict[str, Any] = {"limits": httpx.Limits(max_connections=64), "timeout": 60}
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, **how) as client:

        async def ask(first: int, last: int) -> dict[str, Any]:
            body = _body(prices[first:last], colours[first:last])
            return (await client.post("/v2/models/tiny/infer", json=body)).json()

        spans = [(start, start + 1 + start % 3) for start in range(397)]
        answers = await asyncio.gather(*(ask(*span) for span in spans))
    for (first, last), answer in zip(spans, answers, strict=True):
        alone = session.run(
            ["probabilities"], {"price": prices[first:last], "colour": colours[first:last]}
        )[0]
        np.testing.assert_allclose(_arrays(answer)["probabilities"], alone, rtol=1e-6)
    shared = [a["parameters"] for a in answers if a["parameters"]["batch_rows"] > 3]
    assert shared, "requests at the same time run together"
    places = [(reported["batch_id"], reported["batch_offset"]) for reported in shared]
    assert len(set(places)) == len(places)


def test_predict_accepts_named_features_also_from_bentomls_client(
    service: Any, direct: dict[str, Any]
) -> None:
    rows = [{"price": 0.1, "colour": "red"}, {"price": None, "colour": None}]
    with bentoml.SyncHTTPClient(service.url) as client:
        answer = client.predict(model="tiny", rows=rows)
    assert (answer["model"], answer["version"]) == ("tiny", "1")
    first, second = answer["predictions"]
    assert first["label"] == 1
    assert np.float32(first["probabilities"]["1"]) == direct["probabilities"][0, 1]
    assert second["probabilities"] == {"0": 0.5, "1": 0.5}
    paths = service.http.get("/docs.json").json()["paths"]
    assert "/predict" in paths
    assert service.http.get("/").status_code == 200


def test_fields_that_are_null_are_absent_on_every_route(service: Any) -> None:
    rows: dict[str, Any] = {"model": "tiny", "rows": [{"price": 0.5, "colour": "red"}]}
    names = ("version", "event_time", "request_id", "routing_key")
    assert service.http.post("/predict", json=rows | dict.fromkeys(names)).status_code == 200
    named = service.http.post("/predict", json=rows | {"version": 1, "request_id": 17}).json()
    assert named["version"] == "1"
    label = {"model": "tiny", "request_id": "17", "label": 1, "prediction_id": None, "row": None}
    assert service.http.post("/v1/feedback", json=label).json() == {"accepted": 1}
    load, index = "/v2/repository/models/tiny/load", "/v2/repository/index"
    for path, body in ((load, {"parameters": None}), (index, {"ready": None})):
        assert service.http.post(path, json=body).status_code == 200


def test_an_impossible_label_refuses_its_request_and_logs_no_label(
    service: Any,
) -> None:
    rows = {"model": "tiny", "rows": [{"price": 0.5, "colour": "red"}] * 2, "request_id": "twice"}
    named = service.http.post("/predict", json=rows).raise_for_status().json()["prediction_id"]
    before = len(service.events())
    for labels in ([1, 3], ["yes", 0]):
        for whose in ({"prediction_id": named}, {"model": "tiny", "request_id": "twice"}):
            refused = service.http.post("/v1/feedback", json=[{**whose, "labels": labels}])
            assert refused.status_code == 400
            assert f"prediction {named}, row" in refused.json()["error"]
            assert "not one of the classes 0, 1" in refused.json()["error"]
    assert len(service.events()) == before
    assert "driftline_labels_refused_total 4.0" in service.http.get("/metrics").text
    accepted = {"prediction_id": named, "labels": ["1", True]}
    assert service.http.post("/v1/feedback", json=accepted).json() == {"accepted": 2}


def test_feedback_accepts_one_label_or_many(service: Any) -> None:
    before = len(service.events())
    one = {"prediction_id": "p-1", "label": 1, "event_time": "2013-07-01T00:00:00Z"}
    many = [{"prediction_id": "p-2", "labels": [0, 1]}, {"prediction_id": "p-3", "label": "x"}]
    assert service.http.post("/v1/feedback", json=one).json() == {"accepted": 1}
    assert service.http.post("/v1/feedback", json=many).json() == {"accepted": 3}
    reported = [record.event for record in service.events()[before:]]
    assert all(isinstance(event, FeedbackEvent) for event in reported)
    assert [(e.prediction_id, e.row, e.label) for e in reported] == [
        ("p-1", 0, 1),
        ("p-2", 0, 0),
        ("p-2", 1, 1),
        ("p-3", 0, "x"),
    ]
    assert reported[0].time == 1_372_636_800_000_000


def test_labels_can_use_the_callers_request_id(service: Any) -> None:
    before = len(service.events())
    with Client(service.url) as client:
        answer = client.predict("tiny", [{"price": 1.0, "colour": "red"}], request_id="order-17")
        client.feedback(RequestId("tiny", "order-17"), 1)
    prediction, label = (record.event for record in service.events()[before:])
    assert prediction.request_id == "order-17"
    assert prediction.prediction_id == label.prediction_id == answer.prediction_id
    refused = service.http.post("/predict", json={"model": "tiny", "rows": [], "request_id": "\0"})
    assert refused.status_code == 400
    assert "request_id: expected 1 to 128 characters" in refused.json()["error"]


def test_every_reply_is_one_event(service: Any) -> None:
    before = len(service.events())
    answers = [service.http.post("/v2/models/tiny/infer", json=_body()).json() for _ in range(20)]
    stated = _body(parameters={"event_time": 1_372_636_800_000_000})
    answers.append(service.http.post("/v2/models/tiny/versions/1/infer", json=stated).json())
    service.http.post("/v2/models/tiny/infer", content=b"{")
    service.http.post("/v2/models/nobody/infer", json=_body())
    events = [record.event for record in service.events()[before:]]
    assert all(isinstance(event, PredictionEvent) for event in events)
    good, bad = events[:21], events[21:]
    assert [e.prediction_id for e in good] == [a["parameters"]["prediction_id"] for a in answers]
    assert [(e.outcome, e.version) for e in bad] == [("invalid", "1"), ("invalid", "")]
    assert "JSON" in bad[0].reason
    event = good[0]
    assert (event.model, event.version, event.alias, event.rows) == ("tiny", "1", "champion", 5)
    assert event.digest == service.registry.version("tiny", "1").digest
    assert event.inputs["price"].data[2] is None
    assert event.outputs["label"].data == answers[0]["outputs"][0]["data"]
    assert good[-1].alias == ""
    assert good[-1].time == 1_372_636_800_000_000


def test_a_new_version_is_promoted_under_traffic_without_a_failed_request(service: Any) -> None:
    stop, statuses, versions = threading.Event(), [], []

    def traffic() -> None:
        with httpx.Client(base_url=service.url, trust_env=False) as client:
            while not stop.is_set():
                reply = client.post("/v2/models/tiny/infer", json=_body())
                statuses.append(reply.status_code)
                versions.append(reply.json().get("model_version"))

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    version = service.register(description="the same again, described")
    service.registry.promote("tiny", version.number)
    service.until(lambda: versions[-1:] == ["2"])
    service.registry.promote("tiny", "1")
    service.until(lambda: versions[-1:] == ["1"])
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert set(versions) == {"1", "2"}
