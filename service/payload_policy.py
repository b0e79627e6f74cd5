"""Apply payload policies, which remove or replace values of events before they are logged.

A dropped value is logged as null, a hashed value as "hmac:...", a bucketed value as "[low, high)".
Missing values stay missing. A version without a policy has no overhead.
"""

import hashlib
import hmac
import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3
from msgspec.structs import replace

from eventlog.errors import SettingError
from eventlog.events import PredictionEvent, Tensor
from registry.feature_tensors import to_columns
from registry.features import signature, width
from registry.manifest import Bucket, Manifest, PayloadRule, Sampling, TensorSpec, Version
from registry.outputs import derived_outputs
from registry.payload import keeping
from registry.reference_domains import domains
from registry.reference_path import has_reference
from service.protocol.messages import Array
from service.protocol.tensors import from_raw

_logger = logging.getLogger(__name__)

Hide = Callable[[Any], Any]  # value that is not missing -> value that is logged

_HASH_LENGTH = 32  # hexadecimal digits of a logged hash
_SHORTEST_KEY = 16  # minimum length of the secret key in bytes
_WITHHELD = "withheld by payload policy, because a message can quote the client's values"


class PayloadPolicies:
    """The policies of all loaded versions; false if no version has a policy."""

    def __init__(self) -> None:
        self._by_digest: dict[str, PayloadFilter | LargeTensorSampling] = {}

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def add(self, version: Version, key: bytes) -> None:
        """Add a version's policy, if it has a policy; raises SettingError if `key` is too short."""
        payload = version.manifest.payload
        if payload.fields or payload.sample:
            self._by_digest[version.digest] = PayloadFilter(version, key)
        elif _has_bare_inputs(version.manifest):
            self._by_digest[version.digest] = LargeTensorSampling(version.manifest)

    def apply(self, events: Sequence[PredictionEvent]) -> Sequence[PredictionEvent]:
        """Return the events in the form that is logged."""
        policies = [self._by_digest.get(event.digest) for event in events]
        if not any(policies):
            return events
        pairs = zip(events, policies, strict=True)
        return [event if policy is None else _apply(policy, event) for event, policy in pairs]


def _apply(
    policy: "PayloadFilter | LargeTensorSampling", event: PredictionEvent
) -> PredictionEvent:
    try:
        return policy.apply(event)
    except Exception:  # no value may leak, and the client must get its response
        _logger.exception("a payload policy failed; the event is logged without its payload")
        return replace(
            event, inputs={}, outputs={}, summaries={}, payload="dropped", reason=_WITHHELD
        )


def _has_bare_inputs(manifest: Manifest) -> bool:
    """Return whether an input has no features."""
    with_features = {feature.input for feature in manifest.features}
    return any(spec.name not in with_features for spec in signature(manifest).inputs)


class LargeTensorSampling:
    """The policy of a version without a stated policy: large tensors are logged for a sample.

    Inputs with features and outputs with the prediction are always logged. If the version has such
    tensors, an event outside the sample has the payload "kept", and its digest covers only the
    omitted tensors.
    """

    def __init__(self, manifest: Manifest) -> None:
        prediction = manifest.prediction
        names = {prediction.label, prediction.probabilities, *derived_outputs(prediction)}
        self._always_logged = {feature.input for feature in manifest.features} | names - {""}
        self._sampling = Sampling()

    def apply(self, event: PredictionEvent) -> PredictionEvent:
        """Return the event; omit large tensors unless it failed, was slow or is sampled."""
        sampling = self._sampling
        if event.outcome != "ok" or event.total_us >= sampling.slow_us:
            return event
        inputs, sampled_inputs = self._divide(event.inputs)
        outputs, sampled_outputs = self._divide(event.outputs)
        size = sum(map(_size, (*sampled_inputs.values(), *sampled_outputs.values())))
        if size <= sampling.over_bytes:
            return event
        partly_logged = bool(self._always_logged)
        inclusion = 1.0 if partly_logged else sampling.share
        if _draw(event.prediction_id) < sampling.share:
            return replace(event, inclusion=inclusion)
        digest, size = _digest(sampled_inputs, sampled_outputs)
        return replace(
            event,
            inputs=inputs,
            outputs=outputs,
            inclusion=inclusion,
            payload="kept" if partly_logged else "digest",
            payload_digest=digest,
            payload_bytes=size,
        )

    def _divide(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        remaining = {
            name: tensor for name, tensor in tensors.items() if name in self._always_logged
        }
        return remaining, {
            name: tensor for name, tensor in tensors.items() if name not in remaining
        }


class PayloadFilter:
    """The policy of one version."""

    def __init__(self, version: Version, key: bytes) -> None:
        """`key` is the secret key for hashed values."""
        manifest = version.manifest
        if "hmac" in manifest.payload.fields.values() and len(key) < _SHORTEST_KEY:
            raise SettingError(
                f"the payload policy of {version.model} hashes fields: expected a secret of at "
                f"least {_SHORTEST_KEY} bytes in the file DRIFTLINE_SERVICE_PAYLOAD_KEY_FILE"
            )
        self._columns = _columns(manifest, key)
        self._hidden = {
            summary.name for summary in manifest.summaries or [] if summary.tensor in self._columns
        }
        self._sampling = manifest.payload.sample
        self._reference_ranges = _ReferenceRanges(version) if self._sampling else None

    def apply(self, event: PredictionEvent) -> PredictionEvent:
        """Return the event with replaced values; it has no payload if it is not sampled."""
        reason = _WITHHELD if event.reason and self._columns else event.reason
        inputs, outputs = self._hide(event.inputs), self._hide(event.outputs)
        summaries = event.summaries
        if self._hidden:
            summaries = {n: v for n, v in event.summaries.items() if n not in self._hidden}
        hidden = replace(event, inputs=inputs, outputs=outputs, reason=reason, summaries=summaries)
        sampling = self._sampling
        if (
            sampling is None
            or not _is_large(event, sampling)
            or self._is_always_logged(event, sampling)
        ):
            return hidden
        return _sampled(hidden, sampling)

    def _is_always_logged(self, event: PredictionEvent, sampling: Sampling) -> bool:
        """Return whether the event failed, was slow or is unlike the reference."""
        if event.outcome != "ok" or event.total_us >= sampling.slow_us:
            return True
        assert self._reference_ranges is not None
        return self._reference_ranges.unseen_share(event) > sampling.unusual_share

    def _hide(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._hide_in(name, tensor) for name, tensor in tensors.items()}

    def _hide_in(self, name: str, tensor: Tensor) -> Tensor:
        columns = self._columns.get(name)
        if columns is None:
            return tensor
        data = _values(tensor)
        for start, step, hide in columns:
            data[start::step] = [
                None if value is None else hide(value) for value in data[start::step]
            ]
        return Tensor(tensor.datatype, tensor.shape, data)


def _values(tensor: Tensor) -> list[Any]:
    """Return the values as a new list; an event can contain them as encoded JSON."""
    data: Any = tensor.data
    return msgspec.json.decode(data) if isinstance(data, msgspec.Raw) else list(tensor.values())


def _columns(manifest: Manifest, key: bytes) -> dict[str, list[tuple[int, int, Hide]]]:
    """Return start, step and replacement of every hidden column, by tensor."""
    rules = manifest.payload.fields
    specs = {spec.name: spec for spec in signature(manifest).accepted}
    outputs = {spec.name for spec in signature(manifest).outputs}
    columns: dict[str, list[tuple[int, int, Hide]]] = {}
    for name, rule in rules.items():
        if rule != "keep" and (name in specs or name in outputs):
            columns.setdefault(name, []).append((0, 1, _hide(name, rule, key)))
    for feature in manifest.features:
        rule = rules.get(feature.name, "keep")
        if rule != "keep" and feature.name != feature.input and feature.input not in columns:
            column = (feature.index, width(specs[feature.input]), _hide(feature.name, rule, key))
            columns.setdefault(feature.input, []).append(column)
    return columns


def _hide(name: str, rule: PayloadRule, key: bytes) -> Hide:
    if rule == "hmac":
        return lambda value: _hashed(name, value, key)
    if isinstance(rule, Bucket):
        edges = [-inf, *rule.bucket, inf]
        return lambda value: _bucketed(value, edges)
    return lambda _: None


def _hashed(name: str, value: Any, key: bytes) -> str:
    """Hash a value and its field's name, so that equal values of different fields differ."""
    if value == "":  # a missing text
        return ""
    digest = hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"hmac:{digest[:_HASH_LENGTH]}"


def _bucketed(value: Any, edges: list[float]) -> str:
    number = float(value)  # infinities are encoded as text here, which float accepts
    upper = min(bisect_right(edges, number), len(edges) - 1)
    return f"[{edges[upper - 1]:g}, {edges[upper]:g})"


def _is_large(event: PredictionEvent, sampling: Sampling) -> bool:
    tensors = (*event.inputs.values(), *event.outputs.values())
    return sum(map(_size, tensors)) > sampling.over_bytes


def _size(tensor: Tensor) -> int:
    """Return the size of the values in bytes: of the raw bytes, or of the list as JSON."""
    return len(tensor.raw) or len(msgspec.json.encode(tensor.data))


def _sampled(event: PredictionEvent, sampling: Sampling) -> PredictionEvent:
    """Return a large event, with its payload only if it is sampled."""
    if _draw(event.prediction_id) < sampling.share:
        return replace(event, inclusion=sampling.share)
    fields: dict[str, Any] = {"payload": "dropped"}
    if sampling.digest:
        digest, size = _digest(event.inputs, event.outputs)
        fields = {"payload": "digest", "payload_digest": digest, "payload_bytes": size}
    return replace(event, inputs={}, outputs={}, inclusion=sampling.share, **fields)


def without_large_payload(event: PredictionEvent, most_bytes: int) -> PredictionEvent:
    """Return an event that is not logged yet; a payload over `most_bytes` becomes a digest."""
    size = sum(map(_size, (*event.inputs.values(), *event.outputs.values())))
    size += 20 * sum(map(len, event.summaries.values()))
    if size <= most_bytes:
        return event
    digest, size = _digest(event.inputs, event.outputs)
    return replace(
        event,
        inputs={},
        outputs={},
        summaries={},
        payload="digest",
        payload_digest=digest,
        payload_bytes=size,
    )


def _digest(*groups: Mapping[str, Tensor]) -> tuple[str, int]:
    """Return BLAKE3 hash and size of tensors; each tensor is hashed as JSON, then raw bytes."""
    hasher, size = blake3(), 0
    for tensors in groups:
        for name, tensor in tensors.items():
            raw: Any = tensor.raw or b""  # bytes, because the event is not written yet
            head = msgspec.json.encode([name, tensor.datatype, tensor.shape, tensor.data])
            for part in (head, raw):
                hasher.update(part)
                size += len(part)
    return f"blake3:{hasher.hexdigest()}", size


def _draw(prediction_id: str) -> float:
    """Map a prediction id to [0, 1); the result is reproducible, so samples can be verified."""
    return int.from_bytes(hashlib.blake2b(prediction_id.encode(), digest_size=8).digest()) / 2**64


class _ReferenceRanges:
    """The ranges of numbers and the sets of categories in the reference."""

    def __init__(self, version: Version) -> None:
        self._manifest = keeping(version.manifest)
        if not has_reference(version):
            self._manifest = replace(self._manifest, features=[])
        self._ranges: dict[str, tuple[float, float]] = {}
        self._categories: dict[str, set[str]] = {}
        if self._manifest.features:
            self._ranges, self._categories = domains(version, self._manifest.features)
        with_features = {feature.input for feature in self._manifest.features}
        self._bounds = {
            spec.name: self._bounds_of(spec)
            for spec in signature(self._manifest).inputs
            if spec.name in with_features
        }

    def unseen_share(self, event: PredictionEvent) -> float:
        """Return the share of values outside the reference; missing values count as inside."""
        listed: dict[str, Tensor] = {}
        unseen, compared = 0, 0
        for name, tensor in event.inputs.items():
            if name not in self._bounds:
                continue
            array, bounds = from_raw(tensor), self._bounds[name]
            if array is None or bounds is None:
                listed[name] = Tensor(tensor.datatype, tensor.shape, _values(tensor))
            else:
                unseen += _outside(array.reshape(-1, len(bounds[0])), *bounds)
                compared += array.size
        for name, values in self._columns(listed).items():
            unseen += sum(not self._is_in_reference(name, value) for value in values)
            compared += len(values)
        return unseen / compared if compared else 0.0

    def _columns(self, inputs: Mapping[str, Tensor]) -> dict[str, list[Any]]:
        present = [feature for feature in self._manifest.features if feature.input in inputs]
        return to_columns(replace(self._manifest, features=present), inputs)

    def _is_in_reference(self, name: str, value: Any) -> bool:
        if name in self._categories:
            return value is None or str(value) in self._categories[name]
        low, high = self._ranges.get(name, (-inf, inf))
        return bool(low <= value <= high or value != value)  # noqa: PLR0124  # true for NaN

    def _bounds_of(self, spec: TensorSpec) -> tuple[Array, Array] | None:
        """Return the bounds of each column; None if a column is categorical."""
        features = [feature for feature in self._manifest.features if feature.input == spec.name]
        if any(feature.kind == "categorical" for feature in features):
            return None
        low, high = np.full(width(spec), -inf), np.full(width(spec), inf)
        for feature in features:
            if feature.name in self._ranges:
                low[feature.index], high[feature.index] = self._ranges[feature.name]
        return low, high


def _outside(rows: Array, low: Array, high: Array) -> int:
    """Count the values of an array [N, k] outside their column's bounds; NaN is not counted."""
    # Checking each column's extremes first is cheaper than checking each value.
    if (rows.min(axis=0) >= low).all() and (rows.max(axis=0) <= high).all():
        return 0
    return int(((rows < low) | (rows > high)).sum())
