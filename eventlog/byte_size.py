"""Sizes with a unit, such as 2GiB, in settings and manifests."""

import re

PATTERN = r"([1-9][0-9]{0,9}(KiB|MiB|GiB|TiB))?"
_UNITS = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}  # powers of 2


def parse_size(text: str) -> int:
    """Return a size such as 512MiB in bytes, or 0 for ""; raises ValueError if malformed."""
    match = re.fullmatch(PATTERN, text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; expected a size such as 512MiB or 2GiB")
    unit = match[2]
    return int(text.removesuffix(unit)) << _UNITS[unit] if unit else 0
