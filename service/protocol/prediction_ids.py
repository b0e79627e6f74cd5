"""Make prediction ids, and recognise those that this deployment made. Pure but for chance.

    <tag of the model>-<process>-<counter>-<MAC>     a3f09c1e72-5e0c3b9a11d2-1f-9b2c7d0e11aa
    <tag of the model>-own-<hash>                    from the caller's own id of a request

The MAC is keyed by a secret, so a caller cannot invent a valid id. A caller's
own id has none: its prediction id must be the same whichever secret signs.
"""

import itertools
import re
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from eventlog.shards import tag_of
from service.errors import InvalidRequest

_MAC_BYTES = 6
_MOST_CHARACTERS = 128  # maximum characters of a caller's own id
_SIGNED = re.compile(r"([0-9a-f]{10})-[0-9a-z]{1,24}-[0-9a-f]{1,16}-[0-9a-f]{12}")
_OWN = re.compile(r"([0-9a-f]{10})-own-[0-9a-f]{32}")


class PredictionIds:
    """Make and recognise the ids of one process; thread-safe."""

    def __init__(self, keys: Sequence[bytes], process: str | None = None) -> None:
        """Sign with the first key, recognise by every key; `process` names the process."""
        self._process = secrets.token_hex(6) if process is None else process
        self._counter = itertools.count()
        self._macs = [
            blake2b(key=blake2b(key).digest(), digest_size=_MAC_BYTES, person=b"prediction id")
            for key in keys
        ]

    def new(self, model: str) -> str:
        """Return the next id for a prediction of this model."""
        body = f"{tag_of(model)}-{self._process}-{next(self._counter):x}"
        mac = self._macs[0].copy()
        mac.update(body.encode())
        return f"{body}-{mac.hexdigest()}"

    def tag(self, prediction_id: str) -> str | None:
        """Return the tag of the model that an id names; None if this deployment did not make it."""
        if own := _OWN.fullmatch(prediction_id):
            return own[1]
        signed = _SIGNED.fullmatch(prediction_id)
        if signed is None:
            return None
        body, _, stated_tag = prediction_id.rpartition("-")
        for key in self._macs:
            mac = key.copy()
            mac.update(body.encode())
            if compare_digest(mac.hexdigest(), stated_tag):
                return signed[1]
        return None


def prediction_id_of(model: str, request_id: str) -> str:
    """Return the prediction id of a caller's own id; the same for the same model and id.

    Raises InvalidRequest for an id of another length, or with NUL.
    """
    if not 0 < len(request_id) <= _MOST_CHARACTERS or "\0" in request_id:
        raise InvalidRequest(
            f"request_id: expected 1 to {_MOST_CHARACTERS} characters, not NUL, "
            f"got {len(request_id)}"
        )
    text = f"{model}\0{request_id}".encode(errors="surrogatepass")
    return f"{tag_of(model)}-own-{blake2b(text, digest_size=16).hexdigest()}"
