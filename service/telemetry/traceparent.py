"""Parse the W3C `traceparent` header. Pure."""

import re

# version, trace id, parent id, flags; later versions can have further fields after a hyphen
_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
_LENGTH = 55  # length of the fields that all versions have


def read_traceparent(header: str) -> str:
    """Return the header without fields of later versions; "" if it is malformed.

    The W3C requires that a malformed header is ignored.
    """
    form = _FORM.fullmatch(header.strip())
    if form is None or (form["more"] and header.strip().startswith("00")):
        return ""
    return header.strip()[:_LENGTH]
