"""What can be set about the service, by variables named DRIFTLINE_SERVICE_<FIELD>."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from access.ports import numeric
from eventlog.errors import SettingError
from eventlog.settings import from_environment

PREFIX = "DRIFTLINE_SERVICE_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the service with its default; times carry their unit in the name."""

    host: str = "127.0.0.1"
    port: int = 3000  # REST
    grpc_port: int = 8001
    grpc: Literal["native", "aio"] = "native"  # HTTP/2 connections of ours, or grpc's own server
    admin_port: int = 0  # metrics, repository and docs there and nowhere else; 0: on `port`
    allow_anonymous: bool = False  # whether other machines may reach `host` without credentials
    tls_certificate: str = ""  # PEM files for REST, gRPC and the admin port; both or neither
    tls_key: str = ""
    tls_client_ca: str = ""  # whose certificates callers must show, if any
    workers: int = 1  # processes; each holds every model and its own queues
    max_body_bytes: int = 16 << 20  # of one request, REST and gRPC
    max_grpc_calls: int = 10_000  # at once, per worker; a stream is one
    max_request_rows: int = 100_000
    max_queue_requests: int = 1_000  # waiting, per model version and worker
    max_queue_bytes: int = 64 << 20  # waiting, per model version and worker
    max_queue_wait_ms: int = 2_000  # expected; who would wait longer is refused at once
    max_queue_delay_us: int = 0  # how long a batch may wait to fill
    inline_threshold_us: int = 500  # a run expected to take less does not leave the event loop
    intra_op_threads: int = 1  # of ONNX Runtime, per session whose manifest states none
    execution_providers: str = ""  # with commas, the first preferred; wins over every manifest
    poll_interval_s: float = 0.5  # how often the registry's revision is compared
    request_timeout_s: float = 60.0  # deadline of a request that states none
    keep_alive_s: int = 75  # how long an idle HTTP connection stays open, REST and admin port
    shutdown_grace_s: int = 20  # how long accepted requests may take to finish
    triton_metrics: bool = False  # whether /metrics shows nv_inference_* as well
    payload_key_file: str = ""  # holds the secret that payload policies hash with


def payload_key(settings: Settings) -> bytes:
    """The secret that payload policies hash with, empty where none is set.

    Raises SettingError when its file cannot be read.
    """
    if not settings.payload_key_file:
        return b""
    try:
        return Path(settings.payload_key_file).read_bytes().strip()
    except OSError as error:
        raise SettingError(f"{PREFIX}PAYLOAD_KEY_FILE: {error}") from None


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment states, defaults for the others; raises SettingError.

    A name of a host becomes its address, because BentoML takes nothing else.
    """
    settings = from_environment(Settings, PREFIX, environ)
    return msgspec.structs.replace(settings, host=numeric(settings.host))
