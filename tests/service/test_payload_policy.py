"""The contents that a payload policy allows in the log."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from blake3 import blake3

from eventlog.errors import SettingError
from eventlog.events import PredictionEvent, Tensor
from eventlog.kafka import KafkaSettings, message
from eventlog.settings import Home
from registry.errors import InvalidManifest
from registry.manifest import Version
from registry.store import Registry
from service.payload_policy import PayloadFilter, PayloadPolicies
from service.protocol.tensors import to_tensor
from tests.service.conftest import Service
from tests.tiny_model import register_tiny

KEY = b"0123456789abcdef"
SECRET = "s3cret-b1rthplace"
HEADER = "h3ader-s3cret-t0ken"
NUMBER = 71234.625  # exact in FP32


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Version]:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    return lambda **payload: register_tiny(registry, tmp_path / "files", payload=payload)


def _event(price: Any = 0.5, colour: str = "red", **changes: Any) -> PredictionEvent:
    event = PredictionEvent(
        source="a",
        epoch=1,
        sequence=0,
        time=0,
        received=0,
        prediction_id="p",
        model="tiny",
        protocol="rest",
        outcome="ok",
        rows=2,
        inputs={
            "price": Tensor("FP32", [2, 1], [price, None]),
            "colour": Tensor("BYTES", [2, 1], [colour, ""]),
        },
        outputs={"label": Tensor("INT64", [2], [1, 0])},
    )
    return msgspec.structs.replace(event, **changes)


def _inputs(event: PredictionEvent) -> dict[str, list[Any]]:
    return {name: tensor.data for name, tensor in event.inputs.items()}


def test_fields_are_dropped_hashed_and_bucketed_and_missing_values_stay_missing(
    register: Callable[..., Version],
) -> None:
    policy = PayloadFilter(register(fields={"price": {"bucket": [0, 10]}, "colour": "hmac"}), KEY)
    hidden = _inputs(policy.apply(_event()))
    assert hidden["price"] == ["[0, 10)", None]
    assert hidden["colour"][0].startswith("hmac:")
    assert hidden["colour"][1] == ""
    assert _inputs(policy.apply(_event(price=-1.0)))["price"][0] == "[-inf, 0)"
    assert _inputs(policy.apply(_event(price="Infinity")))["price"][0] == "[10, inf)"
    assert _inputs(policy.apply(_event()))["colour"] == hidden["colour"]
    assert _inputs(policy.apply(_event(colour="blue")))["colour"] != hidden["colour"]
    raw = _event()
    raw.inputs["colour"] = Tensor("BYTES", [2, 1], msgspec.Raw(b'["red",""]'))  # type: ignore[arg-type]
    assert _inputs(policy.apply(raw)) == hidden
    dropping = PayloadFilter(register(fields={"colour": "drop"}), b"")
    assert _inputs(dropping.apply(_event())) == {"price": [0.5, None], "colour": [None, None]}
    assert dropping.apply(_event()).outputs == _event().outputs


def test_hashing_without_a_key_is_an_error_that_names_the_setting(
    register: Callable[..., Version],
) -> None:
    with pytest.raises(SettingError, match="DRIFTLINE_SERVICE_PAYLOAD_KEY_FILE"):
        PayloadFilter(register(fields={"colour": "hmac"}), b"short")


def test_large_payloads_are_sampled_and_unusual_payloads_always_logged(
    register: Callable[..., Version],
) -> None:
    policy = PayloadFilter(register(sample={"over_bytes": 10, "share": 0.2, "slow_us": 1000}), b"")
    drawn = [policy.apply(_event(prediction_id=f"p{n}")) for n in range(2000)]
    kept = [event for event in drawn if event.payload == "kept"]
    assert 320 < len(kept) < 480
    assert {event.inclusion for event in drawn} == {0.2}
    left_out = next(event for event in drawn if event.payload == "digest")
    assert (left_out.inputs, left_out.outputs) == ({}, {})
    assert re.fullmatch("blake3:[0-9a-f]{64}", left_out.payload_digest)
    assert left_out.payload_bytes > 10
    for telling in (
        _event(total_us=1000),
        _event(outcome="failed"),
        _event(price=1e9),
        _event(colour="ultraviolet"),
    ):
        events = [
            policy.apply(msgspec.structs.replace(telling, prediction_id=f"p{n}")) for n in range(50)
        ]
        assert {(event.payload, event.inclusion) for event in events} == {("kept", 1.0)}


def _many(price: np.ndarray[Any, Any]) -> PredictionEvent:
    """A request of many rows, as the service has it before it is written."""
    rows = len(price)
    inputs = {
        "price": to_tensor("FP32", price.astype(np.float32).reshape(rows, 1)),
        "colour": Tensor("BYTES", [rows, 1], ["red"] * rows),
    }
    return _event(rows=rows, inputs=inputs)


def test_a_payload_of_many_values_is_unusual_by_its_share_of_unusual_values(
    register: Callable[..., Version],
) -> None:
    rows = 2_000  # so 4,000 values, and 40 of them may be unseen_share
    usual = np.full(rows, 0.5)
    policy = PayloadFilter(register(sample={"share": 1e-9, "over_bytes": 10}), b"")
    for unseen_share, payload in ((0, "digest"), (40, "digest"), (41, "kept")):
        price = usual.copy()
        price[:unseen_share] = 1e9
        assert policy.apply(_many(price)).payload == payload
        price[-1] = np.nan  # missing, which is not unseen_share
        assert policy.apply(_many(price)).payload == payload


def test_a_digest_is_of_the_values_and_can_be_left_out(register: Callable[..., Version]) -> None:
    sample = {"share": 1e-9, "over_bytes": 10}
    prices = np.linspace(0, 1, 2_000)
    policy = PayloadFilter(register(sample=sample), b"")
    first, again = policy.apply(_many(prices)), policy.apply(_many(prices.copy()))
    assert first.payload_digest == again.payload_digest
    assert first.payload_bytes > prices.size * 4
    parts = [
        part
        for name, tensor in (_many(prices).inputs | _many(prices).outputs).items()
        for part in (
            msgspec.json.encode([name, tensor.datatype, tensor.shape, tensor.data]),
            tensor.raw or b"",
        )
    ]
    assert first.payload_digest == f"blake3:{blake3(b''.join(parts)).hexdigest()}"
    assert policy.apply(_many(prices[::-1])).payload_digest != first.payload_digest
    without = PayloadFilter(register(sample=sample | {"digest": False}), b"").apply(_many(prices))
    assert (without.payload, without.payload_digest, without.inputs) == ("dropped", "", {})
    assert without.inclusion == 1e-9


def test_a_policy_that_fails_leaves_the_payload_out(register: Callable[..., Version]) -> None:
    version = register(fields={"price": {"bucket": [0]}})
    policies = PayloadPolicies()
    policies.add(version, KEY)
    (event,) = policies.apply([_event(price="no number", digest=version.digest)])
    assert (event.payload, event.inputs, event.outputs) == ("dropped", {}, {})
    assert policies.apply([_event(digest="another")]) == [_event(digest="another")]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"colur": "drop"}, "'colur', which is not a feature, input or output"),
        ({"label": "drop"}, "hides 'label', which contains the prediction"),
        ({"colour": {"bucket": [1]}}, "texts have no buckets"),
        ({"price": {"bucket": [2, 1]}}, "ascending edges"),
        ({"price": "encrypt"}, "payload.fields"),
    ],
)
def test_an_impossible_policy_is_refused_at_registration(
    register: Callable[..., Version], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidManifest, match=complaint):
        register(fields=fields)


@pytest.fixture(scope="module")
def discreet(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A service whose model hides everything that it is asked."""
    root = tmp_path_factory.mktemp("discreet")
    (root / "key").write_bytes(KEY)
    with Service(root, free_port, payload_key_file=str(root / "key")) as service:
        service.register(payload={"fields": {"price": "drop", "colour": "hmac"}})
        service.start()
        yield service


def _body(price: Any = NUMBER) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [price]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": [SECRET]},
        ]
    }


def test_a_planted_secret_is_found_nowhere(discreet: Service) -> None:
    headers = {"authorization": f"Bearer {HEADER}", "x-api-key": HEADER, "cookie": HEADER}
    http, path = discreet.http, "/v2/models/tiny/infer"
    assert http.post(path, json=_body(), headers=headers).status_code == 200
    assert http.post(path, json=_body(SECRET), headers=headers).status_code == 400
    rows = {"model": "tiny", "rows": [{"price": SECRET, "colour": SECRET}]}
    assert http.post("/predict", json=rows, headers=headers).status_code == 400
    rows = {"model": "tiny", "rows": [{"price": NUMBER, "colour": SECRET}]}
    assert http.post("/predict", json=rows, headers=headers).status_code == 200
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{discreet.grpc_port}") as client:
        inputs = [triton_grpc.InferInput("price", [1, 1], "FP32")]
        with pytest.raises(Exception, match="missing"):
            client.infer("tiny", inputs, headers={"x-api-key": HEADER})
    events = [record.event for record in discreet.events()]
    outcomes = [event.outcome for event in events if isinstance(event, PredictionEvent)]
    assert outcomes == ["ok", "invalid", "invalid", "ok", "invalid"]
    sent = repr([message(record, KafkaSettings()) for record in discreet.events()])
    metrics = http.get("/metrics").text
    assert "driftline_requests_total" in metrics
    for secret in (SECRET, HEADER, f"{NUMBER:.2f}"):
        assert secret not in metrics
        assert secret not in sent
        found = subprocess.run(
            ["grep", "-rlaF", secret, str(discreet.root)], capture_output=True, check=False
        )
        assert found.stdout == b"", found.stdout
