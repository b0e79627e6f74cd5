"""Change the monitoring policy of a version without a new registration.

This module applies changes and traces each field to the change that set it.
monitoring/windows/policy_periods.py decides when a policy takes effect. The version itself is
immutable. The changes are rows of the registry's history, with actor, time and reason.

A change sets some fields and leaves the others unchanged. Null is an ordinary value, except as the
drift method or threshold of a feature, where it restores the default.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from registry.errors import InvalidManifest, InvalidPolicy
from registry.history.rows import HistoryRow
from registry.manifest import Manifest, Monitoring, Version

_DIGITS = 12  # hexadecimal digits of a digest, short enough to read and long enough to be unique


class PolicyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """New values of some fields, or a reset to the manifest's policy, with the reason."""

    stated: dict[str, Any] | None = None  # new values; None resets to the manifest's policy
    why: str = ""


class DatedPolicy(msgspec.Struct, frozen=True):
    """A policy and the change that set it."""

    policy: Monitoring
    at: int  # start in microseconds since the Unix epoch; 0 if valid from the beginning
    row: HistoryRow | None = None  # row of the change; None for the manifest's policy
    change: PolicyChange = PolicyChange()


def policies_of(version: Version, history: Sequence[HistoryRow]) -> list[DatedPolicy]:
    """Return every policy of a version, oldest first, from the history of its model.

    Changes of the model's policy before the version's registration start at time 0.
    """
    registered = next(
        (r.revision for r in history if r.kind == "registered" and r.number == version.number), 0
    )
    policies = [DatedPolicy(version.manifest.monitoring, 0)]
    for row in history:
        if row.kind == "policy" and row.number in {"", version.number}:
            change = decode(row.detail)
            policy = changed(version.manifest, policies[-1].policy, change)
            at = 0 if row.revision < registered else row.time
            policies.append(DatedPolicy(policy, at, row, change))
    return policies


def changed(manifest: Manifest, policy: Monitoring, change: PolicyChange) -> Monitoring:
    """Return the policy after a change; raises InvalidPolicy for unknown fields."""
    if change.stated is None:
        return manifest.monitoring
    try:
        merged = _merged(msgspec.to_builtins(policy), change.stated)
        return msgspec.convert(merged | _features(merged), Monitoring)
    except msgspec.ValidationError as error:
        raise InvalidPolicy(str(error)) from None


def check_change(version: Version, policy: Monitoring, change: PolicyChange) -> None:
    """Raise InvalidPolicy if the changed policy does not fit the version."""
    after = changed(version.manifest, policy, change)
    try:
        _check(replace(version.manifest, monitoring=after))
    except InvalidManifest as error:
        raise InvalidPolicy(f"{version.model} version {version.number}: {error}") from None


def _check(manifest: Manifest) -> None:
    from registry.validation import check_monitoring  # noqa: PLC0415  # imports NumPy, which is slow

    check_monitoring(manifest)


def require_inherited(model: str, manifest: Manifest, history: Iterable[HistoryRow]) -> None:
    """Raise InvalidPolicy if a model's policy for all versions does not fit a new version."""
    policy = manifest.monitoring
    for row in history:
        if row.kind == "policy" and not row.number:
            policy = changed(manifest, policy, decode(row.detail))
    try:
        _check(replace(manifest, monitoring=policy))
    except InvalidManifest as error:
        raise InvalidPolicy(
            f"the policy for all versions of {model} does not fit this version: {error}; "
            f"driftline policy {model} --reset removes that policy"
        ) from None


def encode(change: PolicyChange) -> str:
    """Encode a change for the history; raises InvalidPolicy for values outside of JSON."""
    encoded = msgspec.json.encode(change)
    if msgspec.json.decode(encoded, type=PolicyChange) != change:
        raise InvalidPolicy("expected finite numbers, text, lists, and fields named by text")
    return encoded.decode()


def decode(detail: str) -> PolicyChange:
    """Decode a change from the history."""
    return msgspec.json.decode(detail, type=PolicyChange)


def flat(policy: Monitoring) -> dict[str, Any]:
    """Return path -> value of every field, such as {"alarms.min_rows": 500, ...}."""
    return dict(_leaves("", msgspec.to_builtins(policy)))


def digest(policy: Monitoring) -> str:
    """Return 12 hexadecimal digits of the SHA-256 over the fields that differ from defaults."""
    defaults = flat(Monitoring())
    changed_fields = {
        name: value for name, value in flat(policy).items() if defaults.get(name, ()) != value
    }
    return sha256(msgspec.json.encode(changed_fields, order="sorted")).hexdigest()[:_DIGITS]


def origins(policies: Sequence[DatedPolicy]) -> dict[str, DatedPolicy]:
    """Return for every field of the last policy the policy that set its value."""
    sources: dict[str, DatedPolicy] = {}
    before: dict[str, Any] = {}
    for policy in policies:
        now = flat(policy.policy)
        source = policies[0] if policy.change.stated is None else policy
        unchanged = (
            {}
            if source is policies[0]
            else {n: sources[n] for n in now if before.get(n, ()) == now[n]}
        )
        sources, before = {name: unchanged.get(name, source) for name in now}, now
    return sources


def differences(before: Monitoring, after: Monitoring) -> dict[str, tuple[Any, Any]]:
    """Return path -> (before, after) of every field that differs; None if unset or null."""
    old, new = flat(before), flat(after)
    names = sorted({*old, *new})
    return {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}


def _merged(before: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before) if isinstance(before, Mapping) else {}
    for name, value in fields.items():
        inner = isinstance(value, Mapping)
        merged[name] = _merged(merged.get(name), value) if inner else value
    return merged


_BY_NAME = ("drift_methods", "drift_thresholds", "embedding_drift")


def _features(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Drop null values in the fields that map features or tensors to values."""
    by_name = {name: merged[name] for name in _BY_NAME}
    return {
        name: {feature: value for feature, value in by.items() if value is not None}
        for name, by in by_name.items()
        if isinstance(by, Mapping)
    }


def _leaves(path: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif not isinstance(value, Mapping):
        yield path, value
