"""Settings of the registry."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from eventlog.settings import Home, from_environment

PREFIX = "DRIFTLINE_"


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Configure where the registry is stored (DRIFTLINE_*); by default below DRIFTLINE_HOME."""

    registry: str = ""  # postgresql://user:password@host/name; empty: a file below DRIFTLINE_HOME


def history_address(home: Home, environ: Mapping[str, str] = os.environ) -> Path | str:
    """Return where the history is: the address that is set, or the file below the home."""
    return from_environment(RegistrySettings, PREFIX, environ).registry or home.registry
