"""Decide which version of a rollout answers a request.

The hash of the request's routing key decides. The routing key is the first of these values that the
request has: the parameter `routing_key`, the header `driftline-routing-key`, the rollout's feature
in the first row, the request id, the prediction id. The hash is salted with the rollout's id. As
the rollout's share grows, a key that has reached the new version stays there.
"""

from typing import Any

from registry.history.rollout_state import Rollout, hash_key, position
from registry.manifest import Manifest
from service.call import Arm, Call
from service.errors import InvalidRequest
from service.protocol.messages import InferRequest
from service.protocol.validation import Inputs

LONGEST_KEY = 256  # maximum length of a routing key


def choose_arm(
    call: Call, request: InferRequest, inputs: Inputs, manifest: Manifest, rollout: Rollout
) -> Arm:
    """Return the arm of a request; raises InvalidRequest for an invalid key."""
    key = routing_key(call, request) or _feature(inputs, manifest, rollout.feature)
    hashed = hash_key(key or request.id or call.prediction_id, rollout.id)
    within = position(hashed) < rollout.share
    return Arm(rollout.id, "rollout" if within else "before", hashed)


def routing_key(call: Call, request: InferRequest) -> str:
    """Return the routing key that the caller states, "" if none; raises InvalidRequest."""
    value: Any = request.parameters.get("routing_key", "")
    if value == "":
        value = call.routing_key
    key = str(value) if type(value) is int else value
    if not isinstance(key, str) or len(key) > LONGEST_KEY:
        raise InvalidRequest(
            f"routing_key: expected text of at most {LONGEST_KEY} characters, or a whole number"
        )
    return key


def _feature(inputs: Inputs, manifest: Manifest, name: str) -> str:
    feature = (
        next((feature for feature in manifest.features if feature.name == name), None)
        if name
        else None
    )
    if feature is None or feature.input not in inputs.arrays:  # an optional input may be absent
        return ""
    row = inputs.arrays[feature.input][:1].reshape(-1)
    if feature.index >= row.size:
        return ""
    value = row[feature.index]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if value == value else ""  # noqa: PLR0124  # NaN is a missing value: no key
