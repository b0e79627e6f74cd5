"""Encode requests from the reference of a registered model, or from generated rows.

Requests are encoded before the load begins, because encoding in the generator is slower than
decoding in the service.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from eventlog.errors import SettingError
from eventlog.events import Label
from loadtests.drift import Columns, Drift, apply_drift
from registry.encoded_files import file_inputs
from registry.errors import NoChampion
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.generated_rows import declared, generate_rows
from registry.history.rows import CHAMPION
from registry.manifest import Manifest, Version
from registry.reference import bare_inputs, load_reference
from registry.reference_path import has_reference
from registry.rows import FREE, batch_dimension
from registry.store import Registry
from service.protocol import open_inference_pb2 as pb
from service.protocol.raw import write_raw
from service.protocol.tensors import listed

Array = np.ndarray[Any, Any]
Parameters = dict[str, bool]  # parameters of a request
LEVELS = 4  # steps from no drift to full drift; each step has its own requests
_GENERATED_ROWS = 64  # if requests are rows of one generated batch
_GENERATED_REQUESTS = 16  # if requests are generated one by one; each can be large
_MOST_ROWS = 500  # largest random sample of the reference


class Payload(msgspec.Struct, frozen=True):
    """One request, encoded for each protocol, and its label (None if it has no label)."""

    json: bytes
    binary: bytes
    binary_json_length: int
    grpc: bytes
    label: Label | None


class Payloads:
    """All requests of a load, by strength of drift."""

    def __init__(
        self,
        version: Version,
        drift: Drift,
        requested_version: str = "",
        seed: int = 0,
        *,
        monitored: bool = True,
    ) -> None:
        """Encode requests to `requested_version`, a number or an alias; "" means the champion.

        The monitor ignores their events unless the requests are `monitored`.
        """
        manifest, parameters = version.manifest, {} if monitored else {"load_test": True}
        if bare_inputs(manifest) or not has_reference(version):
            self._levels = [_generated(version, drift, requested_version, parameters)]
            return
        frame = load_reference(version)
        frame = frame.sample(min(len(frame), _MOST_ROWS), random_state=seed)
        columns = _columns(frame, manifest)
        labels = frame[manifest.target].tolist() if manifest.target else [None] * len(frame)
        self._levels = [
            _encode(
                apply_drift(columns, drift, level / LEVELS, manifest, seed),
                labels,
                version,
                requested_version,
                parameters,
            )
            for level in range(LEVELS + 1 if drift else 1)
        ]

    def at(self, strength: float) -> list[Payload]:
        """Return the requests for a strength of drift from 0 to 1."""
        return self._levels[min(int(strength * LEVELS), len(self._levels) - 1)]


def choose_version(registry: Registry, model: str, requested_version: str) -> Version:
    """Return the version that will answer; if `model` is "", a version of the only model.

    Raises SettingError if no model or several models match; raises RegistryError.
    """
    names = registry.models()
    if not names:
        raise SettingError(
            "DRIFTLINE_HOME: this home has no registered model; expected the home of the service"
        )
    if not model and len(names) != 1:
        raise SettingError(
            f"--model: expected the name of a registered model, one of: {', '.join(names)}"
        )
    name = model or names[0]
    aliases = registry.aliases(name)
    number = aliases.get(requested_version or CHAMPION, requested_version)
    if not number:
        raise NoChampion(name, [version.number for version in registry.versions(name)])
    return registry.version(name, number)


def _columns(frame: pd.DataFrame, manifest: Manifest) -> Columns:
    return {feature.name: frame[feature.name].tolist() for feature in manifest.features}


def _encode(
    columns: Columns,
    labels: Sequence[Label | None],
    version: Version,
    requested_version: str,
    parameters: Parameters,
) -> list[Payload]:
    tensors = to_tensors(version.manifest, columns)
    return [
        encode_request(_row(tensors, row), label, version, requested_version, parameters)
        for row, label in enumerate(labels)
    ]


def _generated(
    version: Version, drift: Drift, requested_version: str, parameters: Parameters
) -> list[Payload]:
    """Encode generated inputs, for a version without reference rows that can be sent."""
    if drift:
        raise SettingError(
            f"--shift, --mix, --blank: {version.model} has no reference whose columns could be "
            "changed; omit these options"
        )
    model_signature = signature(version.manifest)
    files = file_inputs((Path(version.path) / "model.onnx").read_bytes())
    separable = all(spec.shape[:1] == [FREE] for spec in model_signature.inputs)
    if separable and batch_dimension(model_signature) == FREE and not files:
        tensors = next(generate_rows(declared(model_signature.inputs), _GENERATED_ROWS))
        requests = [_row(tensors, row) for row in range(_GENERATED_ROWS)]
    else:
        requests = [
            next(generate_rows(declared(model_signature.inputs), 1, files, seed))
            for seed in range(_GENERATED_REQUESTS)
        ]
    return [
        encode_request(inputs, None, version, requested_version, parameters) for inputs in requests
    ]


def _row(tensors: dict[str, Array], row: int) -> dict[str, Array]:
    return {name: array[row : row + 1] for name, array in tensors.items()}


def encode_request(
    inputs: dict[str, Array],
    label: Label | None,
    version: Version,
    requested_version: str,
    parameters: Parameters,
) -> Payload:
    """Encode the inputs of one request for each protocol."""
    datatypes = {spec.name: spec.datatype for spec in signature(version.manifest).accepted}
    metadata = [
        {"name": name, "datatype": datatypes[name], "shape": array.shape}
        for name, array in inputs.items()
    ]
    raw = [write_raw(datatypes[name], array) for name, array in inputs.items()]
    head = msgspec.json.encode(
        {
            "inputs": [
                {**tensor, "parameters": {"binary_data_size": len(data)}}
                for tensor, data in zip(metadata, raw, strict=True)
            ],
            "parameters": {"binary_data_output": True, **parameters},
        }
    )
    return Payload(
        json=_json(metadata, inputs, parameters),
        binary=b"".join((head, *raw)),
        binary_json_length=len(head),
        grpc=_grpc(metadata, raw, version.model, requested_version, parameters),
        label=label,
    )


def _json(metadata: list[dict[str, Any]], row: dict[str, Array], parameters: Parameters) -> bytes:
    """Encode a row as JSON, with null for NaN."""
    return msgspec.json.encode(
        {
            "inputs": [
                {**tensor, "data": listed(array)}
                for tensor, array in zip(metadata, row.values(), strict=True)
            ],
            **({"parameters": parameters} if parameters else {}),
        }
    )


def _grpc(
    metadata: list[dict[str, Any]],
    raw: list[bytes],
    model: str,
    requested_version: str,
    parameters: Parameters,
) -> bytes:
    request = pb.ModelInferRequest(
        model_name=model, model_version=requested_version, raw_input_contents=raw
    )
    for tensor in metadata:
        request.inputs.add(**tensor)
    for name, value in parameters.items():
        request.parameters[name].bool_param = value
    message: bytes = request.SerializeToString()
    return message
