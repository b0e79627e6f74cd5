"""Parse the W3C `traceparent` header. Pure."""

import re

# version, trace id, parent id, flags; versions to come may say more behind a hyphen
_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
_LENGTH = 55  # characters that every version has


def read_traceparent(header: str) -> str:
    """Return the header's fields known to this version; "" if it names no trace.

    A malformed header is ignored, as the W3C requires.
    """
    form = _FORM.fullmatch(header.strip())
    if form is None or (form["more"] and header.strip().startswith("00")):
        return ""
    return header.strip()[:_LENGTH]
