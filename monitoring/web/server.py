"""Runs the web application in a separate thread of the monitor."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from access.connection_table import ConnectionLimits
from access.handshakes import count_handshakes
from access.http1 import Http1Connection
from access.ports import bind_socket, resolve_host
from access.tls import Tls
from monitoring.errors import PageUnavailable
from monitoring.web.browser_security import OPEN_PATH

_KEEP_ALIVE_S = 75  # longer than usual for proxies, so that proxies close idle connections first


class _PageServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits) -> None:
        super().__init__(config)
        self._limits = limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, with a time limit for TLS handshakes."""
        count_handshakes(asyncio.get_running_loop(), self._limits.client_timeout_s)
        await super().startup(sockets)


@contextmanager
def serving(
    application: Starlette,
    host: str,
    port: int,
    tls: Tls | None = None,
    limits: ConnectionLimits | None = None,
) -> Iterator[str]:
    """Serve the application while the block runs, and yield its URL.

    Port 0 chooses a free port. Raises PageUnavailable if the port cannot be opened. Open
    connections are closed when the block ends.
    """
    listener = _listen(host, port)
    limits = limits or ConnectionLimits()
    server = _PageServer(
        uvicorn.Config(
            application,
            http=Http1Connection.bounded(limits, [OPEN_PATH]),
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
            ssl_context_factory=None if tls is None else lambda *_: tls.context(),
        ),
        limits,
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True
    )
    thread.start()
    name = f"[{host}]" if ":" in host else host
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://{name}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = bind_socket(resolve_host(host), port)
        listener.listen()
    except OSError as error:
        raise PageUnavailable(
            f"the status page cannot listen on {host} port {port}: {error.strerror}"
        ) from None
    return listener
