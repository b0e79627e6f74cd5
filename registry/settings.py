"""Settings of the registry (DRIFTLINE_*), and functions that read single settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from eventlog.settings import Home, from_environment
from registry.history.store import History

PREFIX = "DRIFTLINE_"


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Configure where the registry is stored (DRIFTLINE_*); by default below DRIFTLINE_HOME."""

    registry: str = ""  # postgresql://user:password@host/name; empty: a file below DRIFTLINE_HOME
    # URL of the shared files of versions: file:///..., s3://BUCKET/..., gs://... or abfs://...;
    # empty: each machine has only the files that were registered on it.
    artifacts: str = ""
    # With `artifacts`: largest total size of this machine's copies of versions. Above it, copies
    # that this machine does not need are deleted, least recently used first. 0: no limit.
    model_cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    registry_wait_s: float = 60.0  # how long a command waits for an unreachable database
    registry_require_key: bool = False  # whether commands on this machine need a key for changes
    # PEM file of the key that signs heads of the history; empty: audit-key.pem in DRIFTLINE_HOME.
    audit_key: str = ""


def artifacts_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the shared files of versions, or "" if they are not shared."""
    return from_environment(RegistrySettings, PREFIX, environ).artifacts


def model_cache_bytes(environ: Mapping[str, str] = os.environ) -> int:
    """Return the largest total size of this machine's copies of versions, or 0 for no limit."""
    return from_environment(RegistrySettings, PREFIX, environ).model_cache_bytes


def is_shared(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether several machines share the history."""
    return bool(from_environment(RegistrySettings, PREFIX, environ).registry)


def requires_key(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a command that changes the registry needs a key."""
    return from_environment(RegistrySettings, PREFIX, environ).registry_require_key


def audit_key(home: Home, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the private key that signs heads."""
    path = from_environment(RegistrySettings, PREFIX, environ).audit_key
    return Path(path).expanduser() if path else home.audit_key


def open_history(
    home: Home, environ: Mapping[str, str] = os.environ, *, wait: bool = False, direct: bool = False
) -> History:
    """Open the history at the configured address, or in the home's file.

    If `wait`, as in commands, changes wait for a database that cannot be reached. A shared history
    is read from this machine's copy, unless `direct`.
    """
    settings = from_environment(RegistrySettings, PREFIX, environ)
    wait_s = settings.registry_wait_s if wait else 0.0
    copy = None if direct else home.registry_copy
    return History(settings.registry or home.registry, copy, wait_s=wait_s)
