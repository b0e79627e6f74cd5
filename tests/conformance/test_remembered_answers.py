"""The response cache over every transport: one cache, and every reply states its source."""

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.conformance.ways import Endpoint
from tests.service.conftest import Service

MODEL = "remembering"
PATH = f"/v2/models/{MODEL}/infer"


def _body(price: float) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [price]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
        ]
    }


def _inputs(module: Any, price: float) -> list[Any]:
    given = [
        module.InferInput("price", [1, 1], "FP32"),
        module.InferInput("colour", [1, 1], "BYTES"),
    ]
    given[0].set_data_from_numpy(np.array([[price]], np.float32))
    given[1].set_data_from_numpy(np.array([["red"]], object))
    return given


def test_the_response_cache_is_shared_by_all_transports(
    echoes: Service, address: Endpoint, request: pytest.FixtureRequest
) -> None:
    price = 100.25
    first = echoes.http.post(PATH, json=_body(price))
    assert "driftline-cache-hit" not in first.headers
    again = echoes.http.post(PATH, json=_body(price))
    assert again.headers["driftline-cache-hit"] == "true"
    assert again.json()["parameters"]["cache_hit"] is True
    assert again.json()["outputs"] == first.json()["outputs"]
    with triton_grpc.InferenceServerClient(address.grpc) as client:
        result = client.infer(MODEL, _inputs(triton_grpc, price))
        response = result.get_response()
        assert response.parameters["cache_hit"].bool_param
        expected = first.json()["outputs"][1]["data"]
        assert np.allclose(result.as_numpy("probabilities").ravel(), expected)
        stats = client.get_inference_statistics(MODEL).model_stats[0].inference_stats
    with triton_http.InferenceServerClient(address.rest) as client:
        (rest_stats,) = client.get_inference_statistics(MODEL)["model_stats"]
    hits = rest_stats["inference_stats"]["cache_hit"]["count"]
    assert hits == stats.cache_hit.count >= 2
    assert stats.cache_miss.count >= 1
    ids = {first.json()["parameters"]["prediction_id"], again.json()["parameters"]["prediction_id"]}
    ids.add(response.parameters["prediction_id"].string_param)
    logged = {
        e.event.prediction_id: e.event.cache_hit for e in echoes.events() if e.event.model == MODEL
    }  # type: ignore[union-attr]
    assert ids <= logged.keys()
    assert not logged[first.json()["parameters"]["prediction_id"]]
    assert sum(logged.values()) >= 2


def test_metrics_show_hits_misses_and_bytes(echoes: Service) -> None:
    for _ in range(2):
        echoes.http.post(PATH, json=_body(7.5))

    def value(name: str) -> float:
        lines = echoes.http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    named = f'{{model="{MODEL}",result="%s",version="1"}}'
    echoes.until(lambda: value("driftline_cache_lookups_total" + named % "hit") >= 1)
    assert value("driftline_cache_lookups_total" + named % "miss") >= 1
    echoes.until(lambda: value("driftline_cache_bytes{") > 500)
