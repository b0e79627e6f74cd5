"""Predictions that callers name themselves, so that labels need no id of ours. Pure."""

from hashlib import blake2b

from service.errors import InvalidRequest

_MOST_CHARACTERS = 128


def prediction_id_of(model: str, request_id: str) -> str:
    """Return the prediction id of a caller's own id; the same for the same model and id.

    Raises InvalidRequest for an id of another length, or with NUL.
    """
    if not 0 < len(request_id) <= _MOST_CHARACTERS or "\0" in request_id:
        raise InvalidRequest(
            f"request_id: expected 1 to {_MOST_CHARACTERS} characters, not NUL, "
            f"got {len(request_id)}"
        )
    named = f"{model}\0{request_id}".encode(errors="surrogatepass")
    return f"own-{blake2b(named, digest_size=16).hexdigest()}"
