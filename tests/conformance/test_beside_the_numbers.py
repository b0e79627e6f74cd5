"""Everything except tensors: statistics, headers, traces and compressed replies."""

from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.conformance.ways import Endpoint
from tests.service.conftest import Service

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PATH = "/v2/models/echo-fp32/infer"


def _body(rows: int = 1) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [0.5] * 2 * rows}
    return {"inputs": [tensor]}


def _ask(client: Any, rows: int = 1, **how: Any) -> Any:
    given = triton_http.InferInput("x", [rows, 2], "FP32")
    given.set_data_from_numpy(np.full((rows, 2), 0.5, np.float32))
    return client.infer("echo-fp32", [given], **how)


def test_statistics_grow_by_the_sent_requests(address: Endpoint) -> None:
    with triton_http.InferenceServerClient(address.rest) as client:

        def statistics() -> dict[str, Any]:
            (stats,) = client.get_inference_statistics("echo-fp32", "steady")["model_stats"]
            return dict(stats)

        before = statistics()
        _ask(client, 3)
        httpx.post(f"http://{address.rest}{PATH}", content=b"{", trust_env=False)
        after = statistics()
        everything = client.get_inference_statistics()["model_stats"]
        assert {one["name"] for one in everything} == {
            entry["name"] for entry in client.get_model_repository_index()
        }
        with pytest.raises(InferenceServerException, match="no model 'none'"):
            client.get_inference_statistics("none")
    assert (after["name"], after["version"]) == ("echo-fp32", "1")
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    for outcome in ("success", "fail"):
        was, now = (one["inference_stats"][outcome] for one in (before, after))
        assert now["count"] == was["count"] + 1
        assert now["ns"] > was["ns"]
    assert 3 in {batch["batch_size"] for batch in after["batch_stats"]}


@pytest.mark.parametrize(("module", "transport"), [(triton_http, "rest"), (triton_grpc, "grpc")])
def test_tritons_priority_and_timeout_are_read(
    address: Endpoint, module: Any, transport: str
) -> None:
    given = module.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.full((1, 2), 0.5, np.float32))
    with module.InferenceServerClient(getattr(address, transport)) as client:
        result = client.infer("echo-fp32", [given], priority=2, timeout=30_000_000)
        assert result.as_numpy("echo").tolist() == [[0.5, 0.5]]
        with pytest.raises(InferenceServerException) as expired:
            client.infer("echo-fp32", [given], priority=1, timeout=1)
        assert expired.value.status() in {"504", "StatusCode.DEADLINE_EXCEEDED"}


def test_a_replys_headers_equal_its_parameters(echoes: Service) -> None:
    reply = echoes.http.post(PATH, json=_body())
    parameters = reply.json()["parameters"]
    assert reply.headers["driftline-version"] == "1"
    assert reply.headers["driftline-prediction-id"] == parameters["prediction_id"]
    assert int(reply.headers["driftline-queue-us"]) == parameters["queue_us"]
    assert int(reply.headers["driftline-run-us"]) == parameters["run_us"]


@pytest.mark.parametrize("body", [b'{"inputs": []}', b"{", b""])
def test_a_refusals_header_names_its_event(echoes: Service, body: bytes) -> None:
    reply = echoes.http.post(PATH, content=body)
    assert reply.status_code == 400
    event: Any = echoes.events()[-1].event
    assert event.prediction_id == reply.headers["driftline-prediction-id"]
    assert event.reason == reply.json()["error"]


def test_a_trace_is_logged_and_returned(echoes: Service) -> None:
    for body, status in ((_body(), 200), ({}, 400)):
        reply = echoes.http.post(PATH, json=body, headers={"traceparent": TRACE})
        event: Any = echoes.events()[-1].event
        assert (reply.status_code, reply.headers["traceparent"]) == (status, TRACE)
        assert event.traceparent == TRACE


def test_an_invalid_trace_is_ignored(echoes: Service) -> None:
    reply = echoes.http.post(PATH, json=_body(), headers={"traceparent": TRACE.upper()})
    event: Any = echoes.events()[-1].event
    assert reply.status_code == 200
    assert "traceparent" not in reply.headers
    assert event.traceparent == ""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_tritons_client_gets_its_replies_compressed(address: Endpoint, encoding: str) -> None:
    json = [triton_http.InferRequestedOutput("echo", binary_data=False)]
    with triton_http.InferenceServerClient(address.rest) as client:
        for rows, expected in ((4_000, encoding), (1, None)):
            how = {"request_compression_algorithm": encoding, "outputs": json}
            result = _ask(client, rows, response_compression_algorithm=encoding, **how)
            assert result.as_numpy("echo").tolist() == [[0.5, 0.5]] * rows
            assert _encoding(address, rows, encoding) == expected


def _encoding(address: Endpoint, rows: int, accepted: str) -> str | None:
    url = f"http://{address.rest}{PATH}"
    headers = {"accept-encoding": accepted}
    reply = httpx.post(url, json=_body(rows), headers=headers, trust_env=False)
    assert len(reply.json()["outputs"][0]["data"]) == 2 * rows
    return reply.headers.get("content-encoding")


def test_replies_are_compressed_only_on_request(address: Endpoint) -> None:
    assert _encoding(address, 4_000, "identity") is None
