"""Issue prediction ids, and verify that this deployment issued an id.

    <tag of the model>-<process>-<counter>-<MAC>     a3f09c1e72-5e0c3b9a11d2-1f-9b2c7d0e11aa
    <tag of the model>-own-<hash>                    for a request with the caller's own id

The MAC has a secret key, so a caller cannot invent a valid id. Ids of the second form have no MAC,
because the same request id must result in the same prediction id even after a change of secrets.
"""

import itertools
import re
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from eventlog.shards import tag_of
from service.errors import InvalidRequest

_MAC_BYTES = 6  # length of the MAC in an id
_MOST_CHARACTERS = 128  # maximum length of a caller's own id
_SIGNED = re.compile(r"([0-9a-f]{10})-[0-9a-z]{1,24}-[0-9a-f]{1,16}-[0-9a-f]{12}")
_OWN = re.compile(r"([0-9a-f]{10})-own-[0-9a-f]{32}")


class PredictionIds:
    """The prediction ids of a process; thread-safe."""

    def __init__(self, keys: Sequence[bytes], process: str | None = None) -> None:
        """The first key signs ids, all keys verify ids; `process` identifies the process."""
        self._process = secrets.token_hex(6) if process is None else process
        self._counter = itertools.count()
        self._macs = [
            blake2b(key=blake2b(key).digest(), digest_size=_MAC_BYTES, person=b"prediction id")
            for key in keys
        ]

    def new(self, model: str) -> str:
        """Return a new id for a prediction of this model."""
        body = f"{tag_of(model)}-{self._process}-{next(self._counter):x}"
        mac = self._macs[0].copy()
        mac.update(body.encode())
        return f"{body}-{mac.hexdigest()}"

    def tag(self, prediction_id: str) -> str | None:
        """Return the tag of an id's model; None if this deployment did not issue the id."""
        if match := _OWN.fullmatch(prediction_id):
            return match[1]
        signed = _SIGNED.fullmatch(prediction_id)
        if signed is None:
            return None
        body, _, stated_mac = prediction_id.rpartition("-")
        for key in self._macs:
            mac = key.copy()
            mac.update(body.encode())
            if compare_digest(mac.hexdigest(), stated_mac):
                return signed[1]
        return None


def prediction_id_of(model: str, request_id: str) -> str:
    """Return the prediction id for a caller's own id; it is always the same for model and id.

    Raises InvalidRequest if the caller's id has an invalid length or contains NUL.
    """
    if not 0 < len(request_id) <= _MOST_CHARACTERS or "\0" in request_id:
        raise InvalidRequest(
            f"request_id: expected 1 to {_MOST_CHARACTERS} characters without NUL, "
            f"got {len(request_id)}"
        )
    text = f"{model}\0{request_id}".encode(errors="surrogatepass")
    return f"{tag_of(model)}-own-{blake2b(text, digest_size=16).hexdigest()}"
