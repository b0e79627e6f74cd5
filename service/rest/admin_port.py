"""Serve operators' routes on the public port or on a separate admin port.

Every worker listens on the admin port (SO_REUSEPORT, as for gRPC), so the death of a worker does
not close the port. Every worker can answer: the metrics are sums over all workers by BentoML's
multi-process files, and load and unload reach all workers through the registry.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from access.http1 import Http1Connection
from access.ports import bind_socket
from eventlog.errors import SettingError
from service.auth.configuration import tls_of
from service.auth.rules import PROBES
from service.rest.asgi import App, Message, Receive, Scope, Send
from service.rest.authorization import AuthorizationMiddleware
from service.settings import Settings, connection_limits


def with_admin_port(
    app: App, authorizer: Callable[[], Authorizer], guard: BrowserGuard, settings: Settings
) -> App:
    """Return the application of the public port; it also opens the admin port, if set."""
    if not settings.admin_port:
        return AuthorizationMiddleware(app, authorizer, guard, "whole")
    return AdminPort(
        AuthorizationMiddleware(app, authorizer, guard, "public"),
        AuthorizationMiddleware(app, authorizer, guard, "admin"),
        settings,
    )


class AdminPort:
    """An application that also serves a second application, on the admin port."""

    def __init__(self, public: App, admin: App, settings: Settings) -> None:
        self._public = public
        self._admin = admin
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests to the public application; open and close the port with its lifespan."""
        if scope["type"] != "lifespan":
            await self._public(scope, receive, send)
            return
        server, listener = self._prepare()
        serving: asyncio.Task[None] | None = None

        async def send_with_port(message: Message) -> None:
            nonlocal serving
            if message["type"] == "lifespan.startup.complete":
                serving = asyncio.create_task(server.serve(sockets=[listener]))
            await send(message)

        try:
            await self._public(scope, receive, send_with_port)
        finally:
            server.should_exit = True
            if serving is not None:
                await serving
            listener.close()

    def _prepare(self) -> tuple["_EmbeddedServer", socket.socket]:
        settings = self._settings
        tls = tls_of(settings)
        config = uvicorn.Config(
            self._admin,
            http=Http1Connection.bounded(
                connection_limits(settings), PROBES
            ),  # "auto" would select the class of connections that answer inference
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.shutdown_grace_s,
            ssl_context_factory=None if tls is None else lambda *_: tls.context(),
        )
        return _EmbeddedServer(config), _listen(settings.host, settings.admin_port)


class _EmbeddedServer(uvicorn.Server):
    """A server in the event loop of another server, which handles the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = bind_socket(host, port, shared=True)
    except OSError as error:
        raise SettingError(
            f"the admin port cannot listen on {host}:{port}: {error.strerror}"
        ) from None
    listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return listener
