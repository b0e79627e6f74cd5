"""Keys on a running service of two workers, over REST and gRPC."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from access.authorizer import REFRESH_S
from access.keyfile import KeyFile
from access.keys import Key, make_key, revoke_key
from eventlog.settings import Home
from registry.approvals import Approvals
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from service.protocol import open_inference_pb2 as pb
from tests.service.conftest import Service

BODY = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}
ROWS = {"model": "tiny", "rows": [{"price": 0.5, "colour": "red"}]}
INFER = "/v2/models/tiny/infer"
NOW = 1_700_000_000.0
_BYTES_PER_S = 20_000
_ASKED = 12  # fresh connections, which the kernel deals out to both workers


class Keys:
    """The texts of the keys of a running service."""

    def __init__(self, home: Home) -> None:
        self.file = KeyFile.of(home, {})
        self.texts: list[str] = []

    def add(self, *scopes: str, name: str = "caller") -> str:
        def append(held: list[Key]) -> list[Key]:
            key, text = make_key(held, name=name, scopes=list(scopes), expires="", now=NOW)
            self.texts.append(text)
            return [*held, key]

        self.file.change(append)
        return self.texts[-1]

    def revoke(self, text: str) -> None:
        self.file.change(lambda held: revoke_key(held, text.split("_")[1], NOW))


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def keys(root: Path) -> Keys:
    return Keys(Home(root / "home"))


@pytest.fixture(scope="module")
def predict(keys: Keys) -> str:
    return keys.add("predict", name="predict")


@pytest.fixture(scope="module")
def tiny_only(keys: Keys) -> str:
    return keys.add("predict:tiny", name="tiny")


@pytest.fixture(scope="module")
def operate(keys: Keys) -> str:
    return keys.add("operate", name="operate")


@pytest.fixture(scope="module")
def tester(keys: Keys) -> str:
    return keys.add("predict", "try:other", name="tester")


@pytest.fixture(scope="module")
def guarded(  # noqa: PLR0917  # keys that must be there before it
    root: Path,
    free_port: Callable[[], int],
    predict: str,
    tiny_only: str,
    operate: str,
    tester: str,
) -> Iterator[Service]:
    """The service, with keys that were there before it, and a candidate of the model `other`."""
    with Service(
        root, free_port, workers="2", poll_interval_s="0.1", max_key_bytes_per_s=str(_BYTES_PER_S)
    ) as service:
        for model in ("tiny", "other"):
            service.register(model)
            service.registry.promote(model, "1")
        service.register("other", description="a candidate")
        policy = ReleasePolicy(approvals={"champion": ApprovalRule()})
        Approvals(History(service.home.registry)).set_policy("other", policy, actor="a", why="b")
        service.start()
        yield service


def statuses_in_time(service: Service, text: str) -> set[int]:
    """What workers say of a key once they should have noticed what became of it."""
    changed = time.monotonic()
    service.until(lambda: time.monotonic() > changed + REFRESH_S)
    return {_get(service, "/v2", bearer(text)) for _ in range(_ASKED)}


def _get(service: Service, path: str, headers: dict[str, str] | None = None) -> int:
    return httpx.get(service.url + path, headers=headers, trust_env=False).status_code


def _code(guarded: Service, text: str | None, ask: Callable[[Any, dict[str, str]], Any]) -> str:
    """The gRPC status of a call, "" when it was answered."""
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{guarded.grpc_port}") as client:
        try:
            ask(client, {} if text is None else bearer(text))
        except InferenceServerException as error:
            return str(error.status()).removeprefix("StatusCode.")
        return ""


def _infer(model: str) -> Callable[[Any, dict[str, str]], Any]:
    return lambda client, headers: client.infer(model, [], headers=headers)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/health/live", "/v2/models/tiny/ready"])
def test_probes_need_no_key(guarded: Service, path: str) -> None:
    assert _get(guarded, path) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", INFER),
        ("GET", INFER),
        ("POST", "/v2/models/none/infer"),
        ("POST", "/predict"),
        ("POST", "/v1/feedback"),
        ("GET", "/v2"),
        ("GET", "/v2/models/tiny"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/tiny/unload"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/docs.json"),
        ("GET", "/static_content/index.css"),
        ("GET", "/nothing"),
        ("OPTIONS", "/metrics"),
    ],
)
@pytest.mark.parametrize("given", [None, "dl_000000000000_" + "0" * 64, "x"])
def test_every_other_route_refuses_anonymous_callers_alike(
    guarded: Service, method: str, path: str, given: str | None
) -> None:
    headers = {} if given is None else bearer(given)
    reply = guarded.http.request(method, path, headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="driftline"'
    assert reply.json() == {"error": "expected a valid key: Authorization: Bearer dl_…"}


@pytest.mark.parametrize("way", ["rest", "predict", "grpc"])
def test_a_candidate_answers_callers_with_the_scope_try(
    guarded: Service, predict: str, tester: str, way: str
) -> None:
    def status(key: str) -> int | str:
        if way == "grpc":
            price = triton_grpc.InferInput("price", [1, 1], "FP32")
            price.set_data_from_numpy(np.zeros((1, 1), np.float32))
            colour = triton_grpc.InferInput("colour", [1, 1], "BYTES")
            colour.set_data_from_numpy(np.array([[b"red"]], object))
            inputs = [price, colour]
            return _code(
                guarded,
                key,
                lambda client, headers: client.infer("other", inputs, "2", headers=headers),
            )
        path, body = "/v2/models/other/versions/2/infer", BODY
        if way == "predict":
            path, body = "/predict", {**ROWS, "model": "other", "version": "2"}
        return guarded.http.post(path, json=body, headers=bearer(key)).status_code

    assert status(predict) in {503, "UNAVAILABLE"}
    assert status(tester) in {200, ""}


def test_an_anonymous_caller_is_refused_before_the_body_is_read(guarded: Service) -> None:
    def endless() -> Iterator[bytes]:
        yield b"["
        raise AssertionError("the rest of the body was asked for")

    with (
        httpx.Client(base_url=guarded.url, trust_env=False) as client,
        pytest.raises((AssertionError, httpx.HTTPError)),
    ):
        client.post("/v1/feedback", content=endless())
    reply = guarded.http.post("/v1/feedback", content=b"[" * 150_000)
    assert reply.status_code == 401


def test_a_key_has_its_scopes_over_rest(
    guarded: Service, predict: str, tiny_only: str, operate: str
) -> None:
    def asked(text: str) -> list[int]:
        ask = guarded.http
        headers = bearer(text)
        return [
            ask.post(INFER, json=BODY, headers=headers).status_code,
            ask.post("/v2/models/other/infer", json=BODY, headers=headers).status_code,
            ask.post("/predict", json=ROWS, headers=headers).status_code,
            ask.post("/predict", json=ROWS | {"model": "other"}, headers=headers).status_code,
            ask.get("/v2/models/other", headers=headers).status_code,
            ask.post("/v2/repository/models/other/load", headers=headers).status_code,
            ask.get("/metrics", headers=headers).status_code,
            ask.get("/docs.json", headers=headers).status_code,
            ask.get("/nothing", headers=headers).status_code,
        ]

    assert asked(predict) == [200, 200, 200, 200, 200, 403, 403, 200, 404]
    assert asked(tiny_only) == [200, 403, 200, 403, 403, 403, 403, 200, 404]
    assert asked(operate) == [403, 403, 403, 403, 403, 200, 200, 200, 404]


def _ids(guarded: Service, text: str, model: str) -> list[str]:
    """The ids of predictions of a model: of REST, /predict and gRPC, and of the caller's own id."""
    body = BODY | {"parameters": {"request_id": f"order of {model}"}}
    path, headers = f"/v2/models/{model}/infer", bearer(text)
    ask = guarded.http
    replies = [
        ask.post(path, json=BODY, headers=headers).json()["parameters"],
        ask.post(path, json=body, headers=headers).json()["parameters"],
        ask.post("/predict", json=ROWS | {"model": model}, headers=headers).json(),
    ]
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{guarded.grpc_port}") as client:
        price = triton_grpc.InferInput("price", [1, 1], "FP32")
        price.set_data_from_numpy(np.array([[0.5]], np.float32))
        colour = triton_grpc.InferInput("colour", [1, 1], "BYTES")
        colour.set_data_from_numpy(np.array([[b"red"]], object))
        answer = client.infer(model, [price, colour], headers=headers).get_response()
    return [
        *(one["prediction_id"] for one in replies),
        answer.parameters["prediction_id"].string_param,
    ]


def test_a_key_labels_only_predictions_of_its_models(
    guarded: Service, predict: str, tiny_only: str
) -> None:
    def label(text: str, **named: str) -> tuple[int, str]:
        body = named | {"label": 1}
        reply = guarded.http.post("/v1/feedback", json=body, headers=bearer(text))
        return reply.status_code, reply.text

    def labels(text: str, model: str) -> set[int]:
        found = {label(text, prediction_id=one)[0] for one in _ids(guarded, predict, model)}
        own = label(text, model=model, request_id=f"order of {model}")[0]
        return found | {own}

    assert labels(predict, "tiny") == labels(predict, "other") == {200}
    assert labels(tiny_only, "tiny") == {200}
    assert labels(tiny_only, "other") == {403}
    forged = _ids(guarded, predict, "tiny")[0][:-1] + "x"
    for strange in (forged, "5e0c3b9a11d2-1f"):  # the second one: of an earlier release
        status, message = label(tiny_only, prediction_id=strange)
        assert status == 403, message
        assert strange in message
        assert label(predict, prediction_id=strange)[0] == 200


def test_a_key_has_the_same_scopes_over_grpc(
    guarded: Service, predict: str, tiny_only: str, operate: str
) -> None:
    def metadata(client: Any, headers: dict[str, str]) -> Any:
        return client.get_model_metadata("other", headers=headers)

    asked = [_infer("tiny"), _infer("other"), metadata]
    known = "INVALID_ARGUMENT"  # authorized, then refused because it has no inputs
    denied = "PERMISSION_DENIED"
    stranger = "UNAUTHENTICATED"
    assert [_code(guarded, predict, ask) for ask in asked] == [known, known, ""]
    assert [_code(guarded, tiny_only, ask) for ask in asked] == [known, denied, denied]
    assert [_code(guarded, operate, ask) for ask in asked] == [denied, denied, denied]
    for text in (None, "x", predict[:-1], predict.replace("dl_", "dx_")):
        assert [_code(guarded, text, ask) for ask in asked] == [stranger] * 3


def test_grpc_probes_need_no_key_and_unlisted_methods_always_need_one(
    guarded: Service, predict: str
) -> None:
    assert _code(guarded, None, lambda client, _: client.is_server_ready()) == ""
    assert _code(guarded, None, lambda client, _: client.is_model_ready("tiny")) == ""
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        call = channel.unary_unary("/inference.Other/Method")
        for metadata, code in (((), "UNAUTHENTICATED"), (bearer(predict), "UNIMPLEMENTED")):
            with pytest.raises(grpc.RpcError) as refusal:
                call(b"", metadata=tuple(dict(metadata).items()))
            assert refusal.value.code().name == code


def test_tritons_http_client_sends_its_key(guarded: Service, predict: str) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{guarded.port}") as client:
        assert client.get_model_metadata("tiny", headers=bearer(predict))["name"] == "tiny"
        with pytest.raises(InferenceServerException, match="valid key"):
            client.get_model_metadata("tiny")


def test_every_worker_notices_new_and_revoked_keys_without_a_restart(
    guarded: Service, keys: Keys
) -> None:
    old = keys.add("predict", name="rotating")
    new = keys.add("predict", name="rotating")
    assert statuses_in_time(guarded, old) == {200}
    keys.revoke(old)
    assert statuses_in_time(guarded, old) == {401}
    assert _code(guarded, new, _infer("tiny")) == "INVALID_ARGUMENT"


def test_the_history_names_the_key_that_loaded_or_unloaded(guarded: Service, operate: str) -> None:
    path = "/v2/repository/models/tiny/%s"
    headers = bearer(operate)
    before = len(guarded.registry.history("tiny"))
    assert guarded.http.post(path % "unload", headers=headers).status_code == 200
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{guarded.grpc_port}") as client:
        client.load_model("tiny", headers=headers)
    recorded = [(row.kind, row.actor) for row in guarded.registry.history("tiny")[before:]]
    assert recorded == [("unloaded", "key:operate"), ("loaded", "key:operate")]


def test_refusals_are_counted_and_write_no_event(guarded: Service, operate: str) -> None:
    def counted() -> float:
        lines = guarded.http.get("/metrics", headers=bearer(operate)).text.splitlines()
        found = [line for line in lines if line.startswith("driftline_refused_calls_total")]
        assert {"Unauthenticated", "Forbidden"} <= {line.split('"')[1] for line in found}
        return sum(float(line.split()[-1]) for line in found)

    guarded.http.post(INFER, headers=bearer(operate))
    guarded.http.post(INFER)
    before, events = counted(), len(guarded.events())
    guarded.http.post(INFER)
    guarded.http.post(INFER, headers=bearer(operate))
    _code(guarded, None, _infer("tiny"))
    assert counted() == before + 3
    assert len(guarded.events()) == events


def test_no_secret_is_left_anywhere(guarded: Service, keys: Keys, operate: str) -> None:
    for text in keys.texts:
        guarded.http.post(INFER, json=BODY, headers=bearer(text))
        guarded.http.post("/nothing", headers=bearer(text))
        _code(guarded, text, _infer("tiny"))
        _code(guarded, text[:-2], _infer("tiny"))
    secrets = [text.split("_")[2][:-2].encode() for text in keys.texts]
    assert len(secrets) >= 3
    left = [guarded.http.get("/metrics", headers=bearer(operate)).content]
    left += [path.read_bytes() for path in guarded.root.rglob("*") if path.is_file()]
    assert sum(b"tiny" in content for content in left) > 3  # it looks where things are written
    assert [secret for secret in secrets if any(secret in content for content in left)] == []


def test_a_key_over_its_byte_limit_is_refused_with_retry_after_by_every_transport(
    guarded: Service, keys: Keys
) -> None:
    text = keys.add("predict", name="greedy")
    assert statuses_in_time(guarded, text) == {200}
    long = {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["r" * 300_000]}
    with httpx.Client(base_url=guarded.url, headers=bearer(text), trust_env=False) as client:
        assert client.post(INFER, json={"inputs": [BODY["inputs"][0], long]}).is_success
        for path, body in ((INFER, BODY), ("/predict", ROWS)):  # in one worker
            refused = client.post(path, json=body)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["retry-after"]) < 60
            assert "too many bytes" in refused.json()["error"]
    request = pb.ModelInferRequest(model_name="tiny")
    price = request.inputs.add(name="price", datatype="FP32", shape=[1, 1])
    price.contents.fp32_contents.append(0.5)
    colour = request.inputs.add(name="colour", datatype="BYTES", shape=[1, 1])
    colour.contents.bytes_contents.append(b"r" * 300_000)
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        sent = {"metadata": tuple(bearer(text).items()), "timeout": 30}
        with suppress(grpc.RpcError):  # where the worker is the one of REST
            infer(request.SerializeToString(), **sent)
        with pytest.raises(grpc.RpcError) as stopped:
            infer(request.SerializeToString(), **sent)
    assert stopped.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing = dict(stopped.value.trailing_metadata())
    assert int(trailing["grpc-retry-pushback-ms"]) >= 1_000
