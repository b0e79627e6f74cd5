"""The W3C's `traceparent` header: which trace a request belongs to. Pure."""

import re

# version, trace id, parent id, flags; versions to come may say more behind a hyphen
_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
_LENGTH = 55  # characters that every version has


def read_traceparent(stated: str) -> str:
    """The part of the header that this version knows, "" for one that names no trace.

    A request with a malformed header is answered as if it had none, as the W3C demands.
    """
    form = _FORM.fullmatch(stated.strip())
    if form is None or (form["more"] and stated.strip().startswith("00")):
        return ""
    return stated.strip()[:_LENGTH]
