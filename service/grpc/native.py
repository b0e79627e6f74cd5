"""The native front: HTTP/2 connections of our own in the worker's event loop."""

import asyncio
import ssl
from contextlib import suppress
from functools import partial

from access.listening import bound
from eventlog.errors import SettingError
from service.auth.configuration import tls_of
from service.grpc.authorization import MethodAuthorizer
from service.grpc.http2 import Http2Connection, Http2Server
from service.settings import Settings


class NativeListener:
    """What listens in one worker."""

    def __init__(self, server: asyncio.Server, shared: Http2Server) -> None:
        """See `start`."""
        self._server = server
        self._shared = shared

    async def stop(self, grace: float) -> None:
        """Take no more calls; end when all are answered, after `grace` seconds at the latest."""
        self._server.close()
        connections = self._shared.connections
        for connection in list(connections):
            connection.retire()
        if connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shared.deserted.wait(), grace)
        for connection in list(connections):
            connection.close()


async def start(authorizer: MethodAuthorizer, settings: Settings) -> NativeListener:
    """Listen on the shared port; raises SettingError when the address cannot be had."""
    shared = Http2Server(
        authorizer, limit=settings.max_body_bytes, most_calls=settings.max_grpc_calls
    )
    try:
        server = await asyncio.get_running_loop().create_server(
            partial(Http2Connection, shared),
            # Every worker listens; the kernel distributes connections.
            sock=bound(settings.host, settings.grpc_port, shared=True),
            ssl=_context(settings),
            backlog=1024,
        )
    except OSError as error:
        address = f"{settings.host}:{settings.grpc_port}"
        raise SettingError(f"gRPC cannot listen on {address}: {error.strerror}") from None
    return NativeListener(server, shared)


def _context(settings: Settings) -> ssl.SSLContext | None:
    tls = tls_of(settings)
    if tls is None:
        return None
    context = tls.context()
    context.set_alpn_protocols(["h2"])
    return context
