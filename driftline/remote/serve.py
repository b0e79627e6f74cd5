"""`driftline registry serve`: serve this machine's registry to commands on other machines."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

import msgspec
import uvicorn

from access.authorizer import Authorizer
from access.connection_table import ConnectionLimits
from access.handshakes import count_handshakes
from access.http1 import Http1Connection
from access.keyfile import KeyFile
from access.oidc import configured_tokens
from access.open_files import affordable_connections, allow_open_files
from access.ports import Address, bind_socket, require_free, resolve_host
from access.tls import Tls
from driftline.remote.app import registry_app
from driftline.remote.settings import PREFIX, RegistryServerSettings
from driftline.remote.uploads import Uploads
from eventlog.durable_files import close_to_others
from eventlog.errors import SettingError
from eventlog.settings import Home, from_environment
from registry.store import Registry, store_folder
from telemetry import logs

_logger = logging.getLogger(__name__)


class _RegistryServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, handshake_s: float, url: str) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, with a time limit for TLS handshakes."""
        count_handshakes(asyncio.get_running_loop(), self._handshake_s)
        await super().startup(sockets)
        _logger.info("registry server ready at %s", self._url)


def serve_registry(overrides: Mapping[str, object]) -> None:
    """Serve until SIGINT or SIGTERM; `overrides` replace settings of the environment."""
    logs.configure("registry", from_environment(logs.LoggingSettings, logs.PREFIX))
    settings = from_environment(RegistryServerSettings, PREFIX)
    settings = msgspec.structs.replace(settings, **overrides)
    home = Home.from_environment()
    tls = Tls.of(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, PREFIX)
    keys = KeyFile.of(home)
    tokens = configured_tokens()
    if keys.require() is None and not settings.tls_client_ca and tokens is None:
        raise SettingError(
            "no key exists, but every caller of a registry server needs a key: run driftline keys "
            "create --name me --scope register --scope promote --scope read"
        )
    close_to_others(home.root)
    require_free([Address(settings.host, settings.port, f"--port or {PREFIX}PORT")])
    os.environ["DRIFTLINE_HOME"] = str(home.root)  # for the processes of jobs
    os.environ["BENTOML_HOME"] = str(store_folder(home).parent)
    Registry(home).revision()  # raises an error if the registry cannot be read
    application = registry_app(
        home,
        Authorizer(keys, open_without_keys=bool(settings.tls_client_ca), tokens=tokens),
        Uploads(
            home.uploads,
            largest=settings.max_upload_bytes,
            total=settings.max_uploads_bytes,
            seconds=settings.upload_hours * 3_600,
        ),
        settings.jobs,
    )
    limits = ConnectionLimits(
        affordable_connections(settings.connections, ports=1, allowed=allow_open_files()),
        settings.client_timeout_s,
    )
    server = _RegistryServer(
        uvicorn.Config(
            application,
            http=Http1Connection.bounded(limits, ["/health"]),
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            ssl_context_factory=None if tls is None else lambda *_: tls.context(),
        ),
        settings.client_timeout_s,
        f"{'http' if tls is None else 'https'}://{settings.host}:{settings.port}/",
    )
    listener = bind_socket(resolve_host(settings.host), settings.port)
    listener.listen()
    server.run(sockets=[listener])
