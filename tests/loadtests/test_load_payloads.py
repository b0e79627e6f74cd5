"""Requests made from a reference contain its rows, in every protocol."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventlog.errors import SettingError
from eventlog.settings import Home
from loadtests.drift import Drift
from loadtests.payloads import LEVELS, Payload, Payloads, choose_version
from registry.datatypes import of_array
from registry.errors import NoChampion
from registry.feature_tensors import to_columns
from registry.features import signature
from registry.manifest import Version
from registry.reference import load_reference
from registry.store import Registry
from service.protocol import binary, json, protobuf
from service.protocol import open_inference_pb2 as pb
from service.protocol.messages import InferRequest
from service.protocol.tensors import to_tensor
from tests.registry.test_any_shape import image
from tests.registry.test_encoded_files import decoder
from tests.tiny_model import register_tiny


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """A model with a nullable number and a nullable string."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return register_tiny(Registry(Home(tmp_path / "home")), tmp_path / "files")


def _requests(payload: Payload) -> dict[str, InferRequest]:
    message = pb.ModelInferRequest.FromString(payload.grpc)
    return {
        "json": json.decode_request(payload.json),
        "binary": binary.decode_request(payload.binary, b"%d" % payload.binary_json_length),
        "grpc": protobuf.decode_request(message),
    }


def _row(request: InferRequest, version: Version) -> dict[str, Any]:
    """The named features of a one-row request; a missing one is None."""
    tensors = {
        tensor.name: to_tensor(of_array(tensor.array()), tensor.array())
        for tensor in request.inputs
    }
    columns = to_columns(version.manifest, tensors)
    return {name: _plain(values[0]) for name, values in columns.items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def test_every_protocol_sends_reference_rows_with_their_labels(
    version: Version,
) -> None:
    frame = load_reference(version)
    known = {
        (_plain(float(np.float32(row.price))), row.colour, row.bought) for row in frame.itertuples()
    }
    payloads = Payloads(version, Drift()).at(1.0)
    assert len(payloads) == len(frame)
    seen = set()
    for payload in payloads:
        rows = {
            (row["price"], row["colour"], payload.label)
            for row in (_row(request, version) for request in _requests(payload).values())
        }
        assert len(rows) == 1, "the protocols disagree"
        seen |= rows
    assert seen == known
    assert {None} < {price for price, _, _ in seen}
    assert {colour for _, colour, _ in seen} == {"red", "blue", None}


def test_requests_state_the_signature(version: Version) -> None:
    (payload, *_) = Payloads(version, Drift()).at(0.0)
    stated = [(spec.name, spec.datatype) for spec in signature(version.manifest).inputs]
    for request in _requests(payload).values():
        assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == stated
        assert all(list(tensor.shape) == [1, 1] for tensor in request.inputs)


@pytest.mark.parametrize("monitored", [True, False])
def test_every_protocol_marks_requests_that_are_not_monitored(
    version: Version, monitored: bool
) -> None:
    (payload, *_) = Payloads(version, Drift(), monitored=monitored).at(0.0)
    for request in _requests(payload).values():
        assert request.parameters.get("load_test", False) is not monitored


def test_drift_has_levels_and_blank_values_stay_valid(version: Version) -> None:
    payloads = Payloads(version, Drift(blanks={"price": 1.0, "colour": 1.0}))
    missing = [
        sum(
            _row(json.decode_request(payload.json), version)["price"] is None
            for payload in payloads.at(level / LEVELS)
        )
        for level in range(LEVELS + 1)
    ]
    assert missing == sorted(missing)
    assert missing[0] < missing[-1] == len(payloads.at(1.0))
    (last, *_) = payloads.at(1.0)
    assert {tuple(_row(request, version).values()) for request in _requests(last).values()} == {
        (None, None)
    }


def test_the_only_model_needs_no_name_and_an_alias_leads_to_its_version(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(Home(tmp_path / "home"))
    with pytest.raises(NoChampion, match="driftline promote tiny --version 1"):
        choose_version(registry, "", "")
    changed = register_tiny(registry, tmp_path / "files", max_batch_size=8)
    registry.promote("tiny", "1")
    assert choose_version(registry, "", "").number == "1"
    assert changed.number == "2"
    assert choose_version(registry, "tiny", "").number == "1", "the champion"
    assert choose_version(registry, "tiny", "2").number == "2"
    registry.promote("tiny", "2", alias="challenger")
    assert choose_version(registry, "tiny", "challenger").number == "2"
    register_tiny(registry, tmp_path / "files", model="other")
    with pytest.raises(SettingError, match="one of: other, tiny"):
        choose_version(registry, "", "")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "empty"))
    with pytest.raises(SettingError, match="DRIFTLINE_HOME: this home has no registered model"):
        choose_version(Registry(Home(tmp_path / "elsewhere")), "", "")


def test_a_model_without_a_reference_gets_generated_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    file = tmp_path / "image.onnx"
    file.write_bytes(image(batch="N").SerializeToString())
    version = Registry(Home(tmp_path / "home")).register(file, model="image")
    payloads = Payloads(version, Drift()).at(0.0)
    assert len({payload.binary for payload in payloads}) == len(payloads) > 1
    for request in _requests(payloads[0]).values():
        assert [list(tensor.array().shape) for tensor in request.inputs] == [[1, 3, 32, 32]]
    assert {payload.label for payload in payloads} == {None}
    with pytest.raises(SettingError, match="image has no reference"):
        Payloads(version, Drift(shifts={"price": 1.0}))


@pytest.mark.parametrize(("op", "kind"), [("DecodeImage", b"PNG"), ("AudioDecoder", b"WAVE")])
def test_inputs_that_are_files_get_real_ones(
    op: str, kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    model = decoder(op).SerializeToString()
    version = Registry(Home(tmp_path / "home")).register(model, model="files")
    payloads = Payloads(version, Drift()).at(0.0)
    files = {
        request.inputs[0].array().tobytes()
        for payload in payloads
        for request in _requests(payload).values()
    }
    assert len(files) == len(payloads) > 1
    assert all(kind in file[:16] for file in files)
