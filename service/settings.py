"""Settings of the service, from environment variables named DRIFTLINE_SERVICE_<FIELD>."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from access.connection_table import ConnectionLimits
from access.exposure import is_loopback
from access.open_files import affordable_connections, allow_open_files
from access.ports import resolve_host
from eventlog.byte_size import PATTERN as SIZE_PATTERN
from eventlog.errors import SettingError
from eventlog.settings import PositiveFloat, PositiveInt, from_environment

PREFIX = "DRIFTLINE_SERVICE_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the service with their defaults; names of durations end with the unit."""

    host: str = "127.0.0.1"  # address that all ports listen on
    port: int = 3000  # REST
    grpc_port: int = 8001  # gRPC
    # gRPC server: native is Driftline's, aio is grpcio's; auto: native on loopback, otherwise aio.
    grpc: Literal["auto", "native", "aio"] = "auto"
    admin_port: int = 0  # port for metrics, statistics, repository and docs; 0: use `port`
    allow_anonymous: bool = False  # whether other machines can send requests if no key exists
    # Host names that callers without a key can use, besides IP addresses and localhost, such as
    # models.example.org,*.svc; *: any name. Web pages of these sites can send requests, too.
    allowed_hosts: str = ""
    tls_certificate: str = ""  # PEM certificate chain for REST, gRPC and admin port
    tls_key: str = ""  # PEM private key, unencrypted; required with a certificate
    tls_client_ca: str = ""  # PEM file; if set, clients need a certificate from this CA
    models: str = ""  # patterns of models to serve, such as team-a-*,fraud; empty: every model
    workers: PositiveInt = 1  # processes; each loads every model and has its own queues
    fork_workers: bool = True  # whether workers share the memory of imported modules; only on Linux
    max_body_bytes: PositiveInt = 16 << 20  # maximum size of a request, REST and gRPC
    # Maximum number of connections per worker and port; lower if fewer open files are allowed.
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4_096
    # Maximum size of all incomplete requests per worker.
    max_buffered_bytes: Annotated[int, msgspec.Meta(ge=1)] = 256 << 20
    # Timeout for a TLS handshake, the headers, each 320 KiB of a body, or reading a reply.
    client_timeout_s: Annotated[int, msgspec.Meta(ge=1)] = 20
    max_grpc_calls: PositiveInt = 10_000  # concurrent calls per worker; a stream counts as one call
    # Labels per key and worker, averaged over a minute; 0: no limit.
    max_labels_per_s: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    # Inference requests per key and worker, averaged over 10 s; 0: no limit.
    max_key_requests_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Rows of inference requests per key and worker, averaged over 10 s; 0: no limit.
    max_key_rows_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Bytes of inference requests per key and worker, averaged over 10 s; 0: no limit.
    max_key_bytes_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Running or queued inference requests per key and worker; 0: no limit.
    max_key_requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_request_rows: PositiveInt = 100_000  # maximum number of rows in a request
    max_queue_requests: PositiveInt = 1_000  # limit per worker, model version and priority level
    max_queue_bytes: PositiveInt = 64 << 20  # limit per worker, model version and priority level
    max_queue_wait_ms: int = 2_000  # a request with a longer expected wait is refused
    max_queue_delay_us: int = 0  # time that a batch waits for more requests
    inline_threshold_us: int = 500  # runs with a shorter expected duration stay in the event loop
    intra_op_threads: int = 1  # ONNX Runtime threads per session, unless the manifest sets them
    execution_providers: str = ""  # comma-separated, preferred first; overrides manifests
    poll_interval_s: PositiveFloat = 0.5  # seconds between checks for registry changes
    # Data memory of a worker, such as 8GiB; a run that needs more fails with 500. Empty: no limit.
    memory: Annotated[str, msgspec.Meta(pattern=f"^{SIZE_PATTERN}$")] = ""
    request_timeout_s: PositiveFloat = 60.0  # default deadline of a request
    event_time_ahead_s: int = 300  # maximum of a request's event time, relative to its reception
    keep_alive_s: int = 75  # time after which an idle connection is closed
    shutdown_grace_s: int = 20  # time for accepted requests to finish at shutdown
    triton_metrics: bool = False  # whether /metrics includes Triton's nv_inference_*
    # Comma-separated secrets for prediction ids, the same on all machines: the first signs, all
    # verify. Empty: the home's file prediction-id-secrets, which the first start creates.
    id_secrets: str = ""
    # Whether keys for all models can send labels with ids that this deployment did not issue.
    unverified_labels: Literal["accept", "refuse"] = "accept"
    payload_key_file: str = ""  # file with the HMAC key for hashed payload fields


def grpc_server(settings: Settings) -> Literal["native", "aio"]:
    """Return the gRPC server that the settings select."""
    if settings.grpc != "auto":
        return settings.grpc
    return "native" if is_loopback(settings.host) else "aio"


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits of one port's connections."""
    ports = 3 if settings.admin_port else 2
    allowed = allow_open_files()
    return ConnectionLimits(
        affordable_connections(settings.max_connections, ports=ports, allowed=allowed),
        settings.client_timeout_s,
    )


def payload_key(settings: Settings) -> bytes:
    """Return the HMAC key for hashed payload fields, empty if not set; raises SettingError."""
    if not settings.payload_key_file:
        return b""
    try:
        return Path(settings.payload_key_file).read_bytes().strip()
    except OSError as error:
        raise SettingError(f"{PREFIX}PAYLOAD_KEY_FILE: {error}") from None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment; raises SettingError if one is invalid.

    A host name in `host` is replaced by its IP address, because BentoML accepts only addresses. The
    name is added to the allowed hosts.
    """
    settings = from_environment(Settings, PREFIX, environ)
    address = resolve_host(settings.host)
    allowed = settings.allowed_hosts
    if address != settings.host:
        allowed = f"{allowed},{settings.host}".strip(",")
    return msgspec.structs.replace(settings, host=address, allowed_hosts=allowed)
