"""What of a request and its answer may reach the log: applied to events before they are written.

Everything that decides what is hidden lives here. A model whose manifest states no policy costs
nothing; one that does has the values replaced: null where dropped, "hmac:..." where hashed,
"[low, high)" where bucketed. A missing value stays missing.
"""

import hashlib
import hmac
import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
from msgspec.structs import replace

from eventlog.errors import SettingError
from eventlog.events import PredictionEvent, Tensor
from registry.features import signature, to_columns, width
from registry.manifest import Bucket, Manifest, PayloadRule, Sampling, Version
from registry.payload import keeping
from registry.reference import load_reference

_logger = logging.getLogger(__name__)

Hide = Callable[[Any], Any]  # a value that is not missing -> what the log says instead

_LONGEST_HASH = 32  # hexadecimal digits
_SHORTEST_KEY = 16  # bytes
_WITHHELD = "withheld by payload policy: messages may quote what the client sent"


class Policies:
    """The policies of all loaded versions that have one; false while there is none."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Policy] = {}

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def add(self, version: Version, key: bytes) -> None:
        """Take in a version's policy, if it states one; raises SettingError without its key."""
        payload = version.manifest.payload
        if payload.fields or payload.sample:
            self._by_digest[version.digest] = Policy(version, key)

    def apply(self, events: Sequence[PredictionEvent]) -> list[PredictionEvent]:
        """The events as the log may have them."""
        found = ((event, self._by_digest.get(event.digest)) for event in events)
        return [event if policy is None else _apply(policy, event) for event, policy in found]


def _apply(policy: "Policy", event: PredictionEvent) -> PredictionEvent:
    try:
        return policy.apply(event)
    except Exception:  # whatever fails here, nothing may leak and the caller must be answered
        _logger.exception("a payload policy failed; the event goes without its payload")
        return replace(event, inputs={}, outputs={}, payload="dropped", reason=_WITHHELD)


class Policy:
    """The policy of one version."""

    def __init__(self, version: Version, key: bytes) -> None:
        """`key` is what values are hashed with."""
        manifest = version.manifest
        if "hmac" in manifest.payload.fields.values() and len(key) < _SHORTEST_KEY:
            raise SettingError(
                f"{version.model} hashes fields: expected a secret of at least {_SHORTEST_KEY} "
                "bytes in the file that DRIFTLINE_SERVICE_PAYLOAD_KEY_FILE names"
            )
        self._columns = _columns(manifest, key)
        self._sampling = manifest.payload.sample
        self._usual = _Usual(version) if self._sampling else None

    def apply(self, event: PredictionEvent) -> PredictionEvent:
        """The event with what is hidden hidden, and perhaps without its payload."""
        reason = _WITHHELD if event.reason and self._columns else event.reason
        inputs, outputs = self._hide(event.inputs), self._hide(event.outputs)
        hidden = replace(event, inputs=inputs, outputs=outputs, reason=reason)
        if self._sampling is None or self._tells(event, self._sampling):
            return hidden
        return _sampled(hidden, self._sampling)

    def _tells(self, event: PredictionEvent, sampling: Sampling) -> bool:
        """Whether the event is kept whatever its size: an error, slow, or unlike the reference."""
        if event.outcome != "ok" or event.total_us >= sampling.slow_us:
            return True
        return self._usual is not None and not self._usual.like(event)

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
    """The values, which a writer may have as JSON; a list of their own."""
    data: Any = tensor.data
    return msgspec.json.decode(data) if isinstance(data, msgspec.Raw) else list(tensor.values())


def _columns(manifest: Manifest, key: bytes) -> dict[str, list[tuple[int, int, Hide]]]:
    """By tensor: first place, step and rule of every column that is hidden."""
    rules = manifest.payload.fields
    specs = {spec.name: spec for spec in signature(manifest).inputs}
    outputs = {spec.name for spec in signature(manifest).outputs}
    found: dict[str, list[tuple[int, int, Hide]]] = {}
    for name, rule in rules.items():
        if rule != "keep" and (name in specs or name in outputs):
            found.setdefault(name, []).append((0, 1, _hide(name, rule, key)))
    for feature in manifest.features:
        rule = rules.get(feature.name, "keep")
        if rule != "keep" and feature.name != feature.input and feature.input not in found:
            place = (feature.index, width(specs[feature.input]), _hide(feature.name, rule, key))
            found.setdefault(feature.input, []).append(place)
    return found


def _hide(name: str, rule: PayloadRule, key: bytes) -> Hide:
    if rule == "hmac":
        return lambda value: _hashed(name, value, key)
    if isinstance(rule, Bucket):
        edges = [-inf, *rule.bucket, inf]
        return lambda value: _bucketed(value, edges)
    return lambda _: None


def _hashed(name: str, value: Any, key: bytes) -> str:
    """Equal values of one field stay equal; of different fields nothing can be told."""
    if value == "":  # how a missing text travels
        return ""
    digest = hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"hmac:{digest[:_LONGEST_HASH]}"


def _bucketed(value: Any, edges: list[float]) -> str:
    number = float(value)  # infinities are words by now, which float understands
    place = min(bisect_right(edges, number), len(edges) - 1)
    return f"[{edges[place - 1]:g}, {edges[place]:g})"


def _sampled(event: PredictionEvent, sampling: Sampling) -> PredictionEvent:
    """The event, without its payload where that is large and not drawn."""
    payload = msgspec.json.encode((event.inputs, event.outputs))
    if len(payload) <= sampling.over_bytes:
        return event
    if _draw(event.prediction_id) < sampling.share:
        return replace(event, inclusion=sampling.share)
    return replace(
        event,
        inputs={},
        outputs={},
        inclusion=sampling.share,
        payload="digest",
        payload_digest=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
    )


def _draw(prediction_id: str) -> float:
    """A number in [0, 1) that is the prediction's own, so that anybody can check the draw."""
    return int.from_bytes(hashlib.blake2b(prediction_id.encode(), digest_size=8).digest()) / 2**64


class _Usual:
    """What the reference has seen: ranges of numbers and sets of categories."""

    def __init__(self, version: Version) -> None:
        self._manifest = keeping(version.manifest)
        frame = load_reference(version)
        self._ranges: dict[str, tuple[float, float]] = {}
        self._known: dict[str, set[str]] = {}
        for feature in self._manifest.features:
            values = frame[feature.name].dropna()
            if feature.kind == "categorical":
                self._known[feature.name] = set(map(str, values))
            elif len(values):
                self._ranges[feature.name] = (float(values.min()), float(values.max()))

    def like(self, event: PredictionEvent) -> bool:
        """Whether every value was seen before, or is missing."""
        inputs = {
            name: Tensor(tensor.datatype, tensor.shape, _values(tensor))
            for name, tensor in event.inputs.items()
        }
        columns = to_columns(self._manifest, inputs) if inputs else {}
        return all(
            all(low <= value <= high or value != value for value in columns[name])  # noqa: PLR0124
            for name, (low, high) in self._ranges.items()
            if name in columns
        ) and all(
            all(value is None or str(value) in known for value in columns[name])
            for name, known in self._known.items()
            if name in columns
        )
