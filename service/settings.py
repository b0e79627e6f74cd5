"""Settings of the service, from environment variables named DRIFTLINE_SERVICE_<FIELD>."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from access.connection_table import ConnectionLimits
from access.exposure import is_loopback
from access.open_files import affordable_connections, allow_open_files
from access.ports import numeric
from eventlog.byte_size import PATTERN as SIZE_PATTERN
from eventlog.errors import SettingError
from eventlog.settings import PositiveFloat, PositiveInt, from_environment

PREFIX = "DRIFTLINE_SERVICE_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the service with its default; the name of a duration ends with its unit."""

    host: str = "127.0.0.1"  # address that all ports listen on
    port: int = 3000  # REST
    grpc_port: int = 8001  # gRPC
    # Driftline's gRPC server, or grpcio's; auto: native on loopback, aio where others may connect.
    grpc: Literal["auto", "native", "aio"] = "auto"
    admin_port: int = 0  # port for metrics, statistics, repository and docs; 0: use `port`
    allow_anonymous: bool = False  # whether other machines may call if no key exists
    # Names, besides IP addresses and localhost, by which callers without a key may call, such as
    # models.example.org,*.svc; * for any. Pages of these sites may call, too.
    allowed_hosts: str = ""
    tls_certificate: str = ""  # PEM certificate chain for REST, gRPC and admin port
    tls_key: str = ""  # PEM private key, unencrypted; required with a certificate
    tls_client_ca: str = ""  # PEM file; if set, clients need a certificate from this CA
    models: str = ""  # patterns of models to serve, such as team-a-*,fraud; empty: every model
    workers: PositiveInt = 1  # processes; each loads every model and has its own queues
    fork_workers: bool = True  # whether workers share what one process imports; on Linux only
    max_body_bytes: PositiveInt = 16 << 20  # largest request, REST and gRPC
    # Per worker and port; fewer if fewer open files are allowed.
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4_096
    # Per worker, of requests that have not arrived completely.
    max_buffered_bytes: Annotated[int, msgspec.Meta(ge=1)] = 256 << 20
    # For a handshake, a head, 320 KiB of a body, or reading a reply.
    client_timeout_s: Annotated[int, msgspec.Meta(ge=1)] = 20
    max_grpc_calls: PositiveInt = 10_000  # concurrent calls per worker; a stream counts as one call
    # Per key and worker, on average of a minute; 0: no limit.
    max_labels_per_s: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    # Requests for inference per key and worker, on average of 10 s; 0: no limit.
    max_key_requests_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Rows of inference per key and worker, on average of 10 s; 0: no limit.
    max_key_rows_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Bytes received for inference per key and worker, on average of 10 s; 0: no limit.
    max_key_bytes_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    # Requests for inference that run or wait, per key and worker; 0: no limit.
    max_key_requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_request_rows: PositiveInt = 100_000  # largest number of rows in one request
    max_queue_requests: PositiveInt = 1_000  # limit per worker, model version and priority level
    max_queue_bytes: PositiveInt = 64 << 20  # limit per worker, model version and priority level
    max_queue_wait_ms: int = 2_000  # a request with a longer expected wait is refused at once
    max_queue_delay_us: int = 0  # how long a batch waits for more requests
    inline_threshold_us: int = 500  # runs expected to be shorter stay in the event loop
    intra_op_threads: int = 1  # ONNX Runtime threads per session, unless the manifest sets them
    execution_providers: str = ""  # comma-separated, preferred first; overrides manifests
    poll_interval_s: PositiveFloat = 0.5  # seconds between checks for registry changes
    # Data that a worker may have, as in 8GiB: a run beyond it fails with 500. Empty: no limit.
    memory: Annotated[str, msgspec.Meta(pattern=f"^{SIZE_PATTERN}$")] = ""
    request_timeout_s: PositiveFloat = 60.0  # default deadline of a request
    event_time_ahead_s: int = 300  # how far ahead of the clock a request may state its event time
    keep_alive_s: int = 75  # how long an idle HTTP connection stays open, REST and admin port
    shutdown_grace_s: int = 20  # time for accepted requests to finish at shutdown
    triton_metrics: bool = False  # whether /metrics includes Triton's nv_inference_*
    # Secrets of prediction ids, comma-separated, shared by every machine: the first signs, all
    # verify. Empty: those in the home's file prediction-id-secrets, which the first start writes.
    id_secrets: str = ""
    # Labels of predictions that this service did not make, by keys for every model.
    unverified_labels: Literal["accept", "refuse"] = "accept"
    payload_key_file: str = ""  # file with the HMAC key for hashed payload fields


def grpc_server(settings: Settings) -> Literal["native", "aio"]:
    """Return which gRPC server serves."""
    if settings.grpc != "auto":
        return settings.grpc
    return "native" if is_loopback(settings.host) else "aio"


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits on the clients of one port."""
    ports = 3 if settings.admin_port else 2
    allowed = allow_open_files()
    return ConnectionLimits(
        affordable_connections(settings.max_connections, ports=ports, allowed=allowed),
        settings.client_timeout_s,
    )


def payload_key(settings: Settings) -> bytes:
    """Return the HMAC key for hashed payload fields; empty if no file is set.

    Raises SettingError if the file cannot be read.
    """
    if not settings.payload_key_file:
        return b""
    try:
        return Path(settings.payload_key_file).read_bytes().strip()
    except OSError as error:
        raise SettingError(f"{PREFIX}PAYLOAD_KEY_FILE: {error}") from None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment; raises SettingError if one is invalid.

    A host name is replaced with its IP address, because BentoML accepts only addresses. The name
    stays allowed.
    """
    settings = from_environment(Settings, PREFIX, environ)
    address = numeric(settings.host)
    allowed = settings.allowed_hosts
    if address != settings.host:
        allowed = f"{allowed},{settings.host}".strip(",")
    return msgspec.structs.replace(settings, host=address, allowed_hosts=allowed)
