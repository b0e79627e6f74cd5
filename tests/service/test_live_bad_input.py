"""Bad input of every kind gets a clear message, never a 5xx, and the worker continues."""

import gzip
import json
from typing import Any

import grpc
import httpx
import pytest

from service.protocol import open_inference_pb2 as pb

INFER = "/v2/models/tiny/infer"


def _price(**changes: Any) -> dict[str, Any]:
    return {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]} | changes


COLOUR = {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]}


def _request(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


REFUSED: dict[str, tuple[str, bytes, int, list[str]]] = {
    "unknown model": ("/v2/models/none/infer", _request(), 404, ["'none'", "tiny"]),
    "unknown version": ("/v2/models/tiny/versions/77/infer", _request(), 404, ["77", "champion"]),
    "empty body": (INFER, b"", 400, ["empty", "inputs"]),
    "malformed JSON": (INFER, b'{"inputs": [', 400, ["JSON"]),
    "another JSON": (INFER, b"[]", 400, ["object", "array"]),
    "no inputs": (INFER, b"{}", 400, ["inputs"]),
    "invalid UTF-8": (INFER, b'{"id": "\xff", "inputs": []}', 400, []),
    "deep nesting": (INFER, b'{"inputs": ' + b"[" * 50_000, 400, []),
    "a missing tensor": (INFER, _request(_price()), 400, ["colour", "missing", "BYTES"]),
    "an unknown tensor": (
        INFER,
        _request(_price(), COLOUR, _price(name="size")),
        400,
        ["size", "unknown", "price"],
    ),
    "a tensor twice": (INFER, _request(_price(), COLOUR, _price()), 400, ["price"]),
    "a wrong type": (
        INFER,
        _request(_price(datatype="FP64"), COLOUR),
        400,
        ["price", "FP64", "FP32"],
    ),
    "a type that does not exist": (INFER, _request(_price(datatype="X"), COLOUR), 400, ["price"]),
    "a wrong rank": (INFER, _request(_price(shape=[1, 1, 1]), COLOUR), 400, ["price", "[-1, 1]"]),
    "a wrong width": (
        INFER,
        _request(_price(shape=[1, 2], data=[1, 2]), COLOUR),
        400,
        ["price", "[-1, 1]"],
    ),
    "a negative dimension": (INFER, _request(_price(shape=[-1, 1]), COLOUR), 400, ["price"]),
    "no rows": (INFER, _request(_price(shape=[0, 1], data=[]), COLOUR), 400, ["price"]),
    "too few values": (INFER, _request(_price(shape=[2, 1]), COLOUR), 400, ["price"]),
    "rows that differ": (
        INFER,
        _request(_price(shape=[2, 1], data=[1, 2]), COLOUR),
        400,
        ["colour"],
    ),
    "text for a number": (INFER, _request(_price(data=["much"]), COLOUR), 400, ["price"]),
    "a number for text": (INFER, _request(_price(), COLOUR | {"data": [3]}), 400, ["colour"]),
    "an unknown output": (
        INFER,
        _request(_price(), COLOUR, outputs=[{"name": "size"}]),
        400,
        ["size", "label"],
    ),
    "a time that is none": (
        INFER,
        _request(_price(), COLOUR, parameters={"event_time": "yesterday"}),
        400,
        ["event_time", "yesterday"],
    ),
    "a body over the limit": (INFER, b" " * 200_001, 413, ["200001", "200000"]),
    "predict: a missing feature": (
        "/predict",
        b'{"model": "tiny", "rows": [{"price": 1}]}',
        400,
        ["row 0", "colour"],
    ),
    "predict: a wrong value": (
        "/predict",
        b'{"model": "tiny", "rows": [{"price": "much", "colour": "red"}]}',
        400,
        ["row 0", "price", "much"],
    ),
    "predict: no rows": ("/predict", b'{"model": "tiny", "rows": []}', 400, ["rows"]),
    "predict: no model": ("/predict", b'{"model": "none", "rows": [{}]}', 404, ["tiny"]),
    "predict: malformed": ("/predict", b'{"model"', 400, []),
    "predict: empty": ("/predict", b"", 400, []),
    "feedback: malformed": ("/v1/feedback", b"{", 400, []),
    "feedback: empty": ("/v1/feedback", b"", 400, []),
    "feedback: without a label": ("/v1/feedback", b'{"prediction_id": "p"}', 400, ["label"]),
    "feedback: a wrong label": (
        "/v1/feedback",
        b'{"prediction_id": "p", "label": {}}',
        400,
        ["label"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_a_message_and_the_worker_continues(
    service: Any, case: str
) -> None:
    path, body, status, words = REFUSED[case]
    reply = service.http.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]
    assert [word for word in words if word not in reply.text] == []
    assert "Traceback" not in reply.text
    good = service.http.post(INFER, content=_request(_price(), COLOUR))
    assert good.status_code == 200


ROW = {"price": 0.5, "colour": "red"}
PREDICT_REFUSED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "malformed": (b'{"model"', {}, 400, "JSON"),
    "empty": (b"", {}, 400, '{"model": ..., "rows"'),
    "another JSON": (b"[]", {}, 400, "object"),
    "no model": (b'{"rows": []}', {}, 400, "`model`"),
    "no rows at all": (b'{"model": "tiny"}', {}, 400, "`rows`"),
    "rows that are none": (b'{"model": "tiny", "rows": 3}', {}, 400, "array"),
    "a row that is none": (b'{"model": "tiny", "rows": [3]}', {}, 400, "$[0]"),
    "a field nobody knows": (b'{"model": "tiny", "rows": [], "size": 1}', {}, 400, "size"),
    "NaN": (b'{"model": "tiny", "rows": [{"price": NaN}]}', {}, 400, "JSON"),
    "a number beyond all": (
        b'{"model": "tiny", "rows": [{"price": 1e999, "colour": ""}]}',
        {},
        400,
        "out of range",
    ),
    "deep nesting": (b'{"model": "tiny", "rows": ' + b"[" * 50_000, {}, 400, "deep"),
    "nesting that ends": (
        b'{"model": "tiny", "rows": ' + b"[" * 500 + b"]" * 500 + b"}",
        {},
        400,
        "$[0]",
    ),
    "invalid UTF-8": (b'{"model": "\xff", "rows": []}', {}, 400, "JSON"),
    "a list for a price": (
        b'{"model": "tiny", "rows": [{"price": [1], "colour": ""}]}',
        {},
        400,
        "'price'",
    ),
    "too large": (b" " * 200_001, {}, 413, "200000"),
    "a bomb": (gzip.compress(b" " * 10**8), {"content-encoding": "gzip"}, 413, "200000"),
    "no gzip": (b"{}", {"content-encoding": "gzip"}, 400, "gzip"),
    "another encoding": (b"{}", {"content-encoding": "br"}, 415, "gzip or deflate"),
    "another type": (b"{}", {"content-type": "text/csv"}, 415, "application/json"),
}


@pytest.mark.parametrize("case", PREDICT_REFUSED)
def test_predict_refuses_with_our_message_and_logs_an_event(service: Any, case: str) -> None:
    body, headers, status, word = PREDICT_REFUSED[case]
    reply = service.http.post("/predict", content=body, headers=headers)
    assert reply.status_code == status, reply.text
    assert word in reply.json()["error"], reply.text
    assert "pydantic" not in reply.text
    event = service.events()[-1].event
    assert (event.protocol, event.outcome) == ("predict", "invalid")
    assert event.prediction_id == reply.headers["driftline-prediction-id"]
    good = service.http.post("/predict", json={"model": "tiny", "rows": [ROW]})
    assert good.headers["driftline-prediction-id"] == good.json()["prediction_id"]


def test_predict_and_feedback_read_compressed_bodies(service: Any) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json; charset=utf-8"}
    body = gzip.compress(json.dumps({"model": "tiny", "rows": [ROW]}).encode())
    assert service.http.post("/predict", content=body, headers=headers).status_code == 200
    truth = gzip.compress(b'{"prediction_id": "p", "label": 1}')
    assert service.http.post("/v1/feedback", content=truth, headers=headers).is_success
    bomb = gzip.compress(b" " * 10**8)
    assert service.http.post("/v1/feedback", content=bomb, headers=headers).status_code == 413


RAW = {"name": "price", "datatype": "FP32", "shape": [1, 1]}
BINARY_REFUSED = {
    "a length that is none": (b"many", 4, b"\0\0\0\0", "many"),
    "a length beyond the body": (b"100000", 4, b"\0\0\0\0", "100000"),
    "fewer bytes than stated": (None, 4, b"\0\0", "at most the remaining 2"),
    "a size that is none": (None, -1, b"", "-1"),
    "too few bytes for the shape": (None, 2, b"\0\0", "needs 4"),
    "bytes that belong to nothing": (None, 4, b"\0\0\0\0\0", "1 bytes follow"),
}


@pytest.mark.parametrize("case", BINARY_REFUSED)
def test_binary_data_of_a_wrong_size_is_refused(service: Any, case: str) -> None:
    stated, size, raw, word = BINARY_REFUSED[case]
    head = _request(RAW | {"parameters": {"binary_data_size": size}}, COLOUR)
    headers = {"inference-header-content-length": (stated or str(len(head)).encode()).decode()}
    reply = service.http.post(INFER, content=head + raw, headers=headers)
    assert reply.status_code == 400
    assert word in reply.json()["error"]
    assert service.http.post(INFER, content=_request(_price(), COLOUR)).status_code == 200


def test_binary_data_without_its_header_names_the_missing_header(service: Any) -> None:
    head = _request(RAW | {"parameters": {"binary_data_size": 4}}, COLOUR)
    reply = service.http.post(INFER, content=head)
    assert reply.status_code == 400
    assert "Inference-Header-Content-Length" in reply.json()["error"]


def test_a_chunked_body_is_stopped_at_the_limit(service: Any) -> None:
    chunks = (b" " * 50_000 for _ in range(10))
    assert service.http.post(INFER, content=chunks).status_code == 413


def test_nan_is_refused_if_the_manifest_forbids_it(service: Any) -> None:
    features = [{"name": "price", "kind": "numeric"}, {"name": "colour", "kind": "categorical"}]
    clean = {"features": features}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.tiny_model.reference_file", _without_gaps)
        service.register("strict", **clean)
    url = "/v2/models/strict/infer"
    good = _request(_price(), COLOUR)
    service.until(lambda: service.http.post(url, content=good).is_success)
    reply = service.http.post(url, content=_request(_price(data=[None]), COLOUR))
    assert reply.status_code == 400
    assert "price" in reply.text
    rows = {"model": "strict", "rows": [{"price": None, "colour": "red"}]}
    assert service.http.post("/predict", json=rows).status_code == 400


def _without_gaps(rows: int) -> bytes:
    from tests import tiny_model  # noqa: PLC0415 - the unpatched columns

    frame = tiny_model.pd.DataFrame({"price": [n / rows - 0.5 for n in range(rows)]})
    bought = (frame.index * 7919 % rows > rows / 3).astype("int64")
    content: bytes = frame.assign(colour="red", bought=bought).to_parquet(index=False)
    return content


GRPC_REFUSED = {
    "unknown model": ({"model_name": "none"}, [], grpc.StatusCode.NOT_FOUND, "tiny"),
    "missing tensors": ({"model_name": "tiny"}, [], grpc.StatusCode.INVALID_ARGUMENT, "price"),
    "a wrong type": (
        {"model_name": "tiny"},
        [
            {"name": "price", "datatype": "INT8", "shape": [1, 1]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1]},
        ],
        grpc.StatusCode.INVALID_ARGUMENT,
        "price",
    ),
    "raw bytes that do not fit": (
        {"model_name": "tiny", "raw_input_contents": [b"123", b"\x03\x00\x00\x00red"]},
        [
            {"name": "price", "datatype": "FP32", "shape": [1, 1]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1]},
        ],
        grpc.StatusCode.INVALID_ARGUMENT,
        "price",
    ),
    "a truncated string": (
        {"model_name": "tiny", "raw_input_contents": [b"\0\0\0\0", b"\x09\x00\x00\x00red"]},
        [
            {"name": "price", "datatype": "FP32", "shape": [1, 1]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1]},
        ],
        grpc.StatusCode.INVALID_ARGUMENT,
        "colour",
    ),
}


@pytest.mark.parametrize("case", GRPC_REFUSED)
def test_grpc_refuses_the_same_input(service: Any, case: str) -> None:
    fields, inputs, code, word = GRPC_REFUSED[case]
    request = pb.ModelInferRequest(**fields)
    for tensor in inputs:
        request.inputs.add(**tensor)
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as refused:
            infer(request)
    assert refused.value.code() == code
    assert word in refused.value.details()
    assert service.http.get("/v2/health/ready").is_success


def test_bytes_that_are_not_a_message_are_an_invalid_argument(service: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            infer(b"\xff\xff\xff")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_same_worker_answered_all_requests(service: Any) -> None:
    """Runs last in this module: one epoch of one source means that nothing was restarted."""
    assert len({(record.source, record.epoch) for record in service.events()}) == 1
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        assert client.get("/v2/health/live").is_success
