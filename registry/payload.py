"""Check a version's payload policy, and find the fields that it hides in the log."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from msgspec.structs import replace

from registry.errors import InvalidManifest
from registry.manifest import (
    Bucket,
    Feature,
    Manifest,
    PayloadPolicy,
    PayloadRule,
    Prediction,
    Signature,
)

_EFFECTS = {"drop": "dropped", "hmac": "hashed"}


def rule_of(policy: PayloadPolicy, feature: Feature) -> PayloadRule:
    """Return a feature's rule or, if it has none, the rule of its input."""
    return policy.fields.get(feature.name, policy.fields.get(feature.input, "keep"))


def withheld(manifest: Manifest) -> dict[str, str]:
    """Return feature or summary -> reason why the log hides its values."""
    rules = {f.name: rule_of(manifest.payload, f) for f in manifest.features}
    fields = manifest.payload.fields
    rules |= {
        summary.name: fields.get(summary.tensor, "keep") for summary in manifest.summaries or []
    }
    return {
        name: f"not scored: {_effect(rule)} by payload policy"
        for name, rule in rules.items()
        if rule != "keep"
    }


def unmonitored(manifest: Manifest) -> dict[str, str]:
    """Return feature or summary -> reason why its drift and data quality are not computed."""
    ignored = {f.name: "not monitored: monitor: false" for f in manifest.features if not f.monitor}
    return ignored | withheld(manifest)


def keeping(manifest: Manifest) -> Manifest:
    """Return the manifest with only the features whose values are logged unchanged."""
    return _keeping(_ById(manifest)) if manifest.payload.fields else manifest


def check_payload(
    policy: PayloadPolicy,
    features: Sequence[Feature],
    model_signature: Signature,
    prediction: Prediction,
) -> None:
    """Raise InvalidManifest if a rule has no field, cannot apply, or hides the prediction."""
    datatypes = {
        spec.name: spec.datatype for spec in (*model_signature.accepted, *model_signature.outputs)
    }
    datatype_of = datatypes | {f.name: datatypes[f.input] for f in features}
    for name, rule in policy.fields.items():
        if name not in datatype_of:
            raise InvalidManifest(
                f"payload.fields names {name!r}, which is not a feature, input or output; "
                f"expected one of {', '.join(sorted(datatype_of))}"
            )
        answers = {prediction.label, prediction.probabilities, prediction.scores}
        if name in answers and rule != "keep":
            raise InvalidManifest(
                f"payload.fields hides {name!r}, which contains the prediction: nothing could be "
                "monitored; expected keep"
            )
        if isinstance(rule, Bucket):
            _check_edges(name, rule.bucket, datatype_of[name])


def _check_edges(name: str, edges: list[float], datatype: str) -> None:
    if datatype == "BYTES":
        raise InvalidManifest(
            f"payload.fields.{name}: texts have no buckets; expected drop or hmac"
        )
    if any(low >= high for low, high in pairwise(edges)):
        raise InvalidManifest(
            f"payload.fields.{name}.bucket: expected ascending edges, got {edges}"
        )


def _effect(rule: PayloadRule) -> str:
    return "bucketed" if isinstance(rule, Bucket) else _EFFECTS[rule]


class _ById:
    """A cache key of a manifest's identity, because its lists cannot be hashed."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def __hash__(self) -> int:
        return id(self.manifest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.manifest is self.manifest


@lru_cache(maxsize=1024)
def _keeping(key: _ById) -> Manifest:
    manifest = key.manifest
    hidden = withheld(manifest)
    return replace(manifest, features=[f for f in manifest.features if f.name not in hidden])
