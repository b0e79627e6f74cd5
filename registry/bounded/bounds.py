"""The time and memory bounds of a check of a version's files."""

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from eventlog.byte_size import PATTERN, parse_size
from eventlog.settings import from_environment

PREFIX = "DRIFTLINE_REGISTER_"
_PER_BYTE = 8  # bytes of memory for each byte of the files: read, parsed, repaired, loaded twice
_BYTES_PER_S = 1 << 20


class RegisterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bound the process that checks the files of a registration (DRIFTLINE_REGISTER_*)."""

    # Data of the process, as in 8GiB, to which 8 bytes are added for each byte of the files.
    memory: Annotated[str, msgspec.Meta(pattern=f"^{PATTERN}$")] = "4GiB"
    # To which a second is added for each MiB of the files; trial runs may take half of it.
    seconds: Annotated[float, msgspec.Meta(gt=0)] = 120.0


class Bounds(msgspec.Struct, frozen=True):
    """The bounds of one check."""

    memory: int  # bytes
    seconds: float


def bounds_of(size: int, environ: Mapping[str, str] = os.environ) -> Bounds:
    """Return the bounds of files of so many bytes together; raises SettingError.

    They grow with the files, so that large honest models pass: what small files ask for is bounded.
    """
    settings = from_environment(RegisterSettings, PREFIX, environ)
    memory = parse_size(settings.memory)
    return Bounds(
        memory + _PER_BYTE * size if memory else 0, settings.seconds + size / _BYTES_PER_S
    )
