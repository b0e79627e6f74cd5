"""Settings of the registry server, from DRIFTLINE_REGISTRY_SERVER_*."""

from typing import Annotated

import msgspec

PREFIX = "DRIFTLINE_REGISTRY_SERVER_"


class RegistryServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The address and the limits of `driftline registry serve`."""

    host: str = "127.0.0.1"  # every caller needs a key, also on loopback
    port: int = 3200
    tls_certificate: str = ""  # PEM files; set both or neither
    tls_key: str = ""
    tls_client_ca: str = ""  # PEM file; if set, clients need a certificate from this CA
    max_upload_bytes: int = 8 << 30  # largest file of a model
    max_uploads_bytes: int = 32 << 30  # total of all uploaded files that are not registered yet
    upload_hours: float = 24.0  # hours after which an upload is deleted
    connections: int = 1_024  # maximum number of open connections
    # Per request head, body and reply; large bodies get more time, one second per 16 KiB.
    client_timeout_s: float = 20.0
    # Maximum number of simultaneous registrations and gate runs, each in a separate process.
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
