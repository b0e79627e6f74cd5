"""Runs the web application beside the monitor, in a thread of its own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from access.http1 import Http1Connection
from access.ports import bound, numeric
from access.tls import Tls
from monitoring.errors import PageUnavailable

_KEEP_ALIVE_S = 75  # longer than proxies hold idle connections: they close first


@contextmanager
def serving(application: Starlette, host: str, port: int, tls: Tls | None = None) -> Iterator[str]:
    """Serve while the block runs; gives the page's address (port 0: one that is free).

    Raises PageUnavailable where the port cannot be had. Leaving the block ends open connections.
    """
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http=Http1Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
            ssl_context_factory=None if tls is None else lambda *_: tls.context(),
        )
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
        listener = bound(numeric(host), port)
        listener.listen()
    except OSError as error:
        raise PageUnavailable(
            f"the status page cannot listen on {host} port {port}: {error.strerror}"
        ) from None
    return listener
