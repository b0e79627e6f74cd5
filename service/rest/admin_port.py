"""What each port of a worker serves: all on one, or what is for operators on a port of its own.

With an admin port every worker listens on it (SO_REUSEPORT, as gRPC does), so none is special and
one that dies takes nothing with it. Any worker can answer there: metrics are summed over the
workers by BentoML's multi-process files, and load and unload go through the registry, which all
workers follow.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from access.authorizer import Authorizer
from access.http1 import Http1Connection
from access.listening import bound
from eventlog.errors import SettingError
from service.auth.configuration import tls_of
from service.rest.asgi import App, Message, Receive, Scope, Send
from service.rest.authorization import AuthorizationMiddleware
from service.settings import Settings


def with_admin_port(app: App, authorizer: Callable[[], Authorizer], settings: Settings) -> App:
    """The application for the public port, which opens the admin port beside it if there is one."""
    if not settings.admin_port:
        return AuthorizationMiddleware(app, authorizer, "whole")
    return AdminPort(
        AuthorizationMiddleware(app, authorizer, "public"),
        AuthorizationMiddleware(app, authorizer, "admin"),
        settings,
    )


class AdminPort:
    """Serves a second application from the start to the end of the first one's life."""

    def __init__(self, public: App, admin: App, settings: Settings) -> None:
        self._public = public
        self._admin = admin
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand every request to the public application; open and close with its lifespan."""
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
            http=Http1Connection,  # not "auto": that stands for connections that answer inference
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
    """A server in a loop that is not its own: signals are the host's to handle."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = bound(host, port, shared=True)
    except OSError as error:
        raise SettingError(
            f"the admin port cannot listen on {host}:{port}: {error.strerror}"
        ) from None
    listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return listener
