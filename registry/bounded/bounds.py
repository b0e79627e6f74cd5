"""The limits on time and memory for checking a version's files."""

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from eventlog.byte_size import PATTERN, parse_size
from eventlog.settings import from_environment

PREFIX = "DRIFTLINE_REGISTER_"
_PER_BYTE = 8  # bytes of memory per byte of the files, for parsing, repair and two sessions
_BYTES_PER_S = 1 << 20


class RegisterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limit the process that checks the files of a registration (DRIFTLINE_REGISTER_*)."""

    # Memory of the process, such as 8GiB, plus 8 bytes per byte of the files.
    memory: Annotated[str, msgspec.Meta(pattern=f"^{PATTERN}$")] = "4GiB"
    # Time of a check, plus one second per MiB of the files; half of it is for trial runs.
    seconds: Annotated[float, msgspec.Meta(gt=0)] = 120.0


class Bounds(msgspec.Struct, frozen=True):
    """The limits of one check."""

    memory: int  # bytes; 0 for no limit
    seconds: float


def bounds_of(size: int, environ: Mapping[str, str] = os.environ) -> Bounds:
    """Return the limits for files with a total of `size` bytes; raises SettingError.

    The limits grow with the files, so that large models pass and small malicious files do not.
    """
    settings = from_environment(RegisterSettings, PREFIX, environ)
    memory = parse_size(settings.memory)
    return Bounds(
        memory + _PER_BYTE * size if memory else 0, settings.seconds + size / _BYTES_PER_S
    )
