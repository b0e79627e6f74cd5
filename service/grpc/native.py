"""Serve gRPC by our own HTTP/2 connections in the worker's event loop."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from access.connection_table import ConnectionTable
from access.ports import bind_socket
from eventlog.errors import SettingError
from service.auth.configuration import tls_of
from service.buffered_bytes import BufferedBytes
from service.grpc.authorization import MethodAuthorizer
from service.grpc.http2 import Http2Connection, Http2Server
from service.grpc.slots import CallSlots
from service.settings import Settings, connection_limits
from service.shared_listener import SharedListener

Share = Callable[
    [socket.socket, Callable[[], Http2Connection], ssl.SSLContext | None], SharedListener | None
]


class NativeListener:
    """The listening socket and connections of one worker."""

    def __init__(self, server: asyncio.Server | SharedListener, shared: Http2Server) -> None:
        """Use `start` to create one."""
        self._server = server
        self._shared = shared

    async def stop(self, grace: float) -> None:
        """Refuse new calls; return once all calls are answered, or after `grace` seconds."""
        self._server.close()
        connections = self._shared.connections
        for connection in list(connections):
            connection.retire()
        if connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shared.all_closed.wait(), grace)
        for connection in list(connections):
            connection.close()


async def start(
    authorizer: MethodAuthorizer,
    settings: Settings,
    buffered: BufferedBytes,
    share: Share | None = None,
) -> NativeListener:
    """Listen on the shared port; raises SettingError if the address is not available.

    `share` distributes a listening socket's connections among the workers; it returns None if this
    is not possible, and the kernel distributes them.
    """
    shared = Http2Server(
        authorizer,
        limit=settings.max_body_bytes,
        slots=CallSlots(settings.max_grpc_calls),
        table=ConnectionTable(connection_limits(settings)),
        buffered=buffered,
        keep_alive_s=settings.keep_alive_s,
        grace_s=settings.request_timeout_s,
    )
    factory, tls = partial(Http2Connection, shared), _context(settings)
    try:
        listener = bind_socket(settings.host, settings.grpc_port, shared=True)
        shared_listener = share(listener, factory, tls) if share else None
        server = shared_listener or await asyncio.get_running_loop().create_server(
            factory, sock=listener, ssl=tls, backlog=1024
        )
    except OSError as error:
        address = f"{settings.host}:{settings.grpc_port}"
        raise SettingError(f"gRPC cannot listen on {address}: {error.strerror}") from None
    return NativeListener(server, shared)


def _context(settings: Settings) -> ssl.SSLContext | None:
    tls = tls_of(settings)
    return None if tls is None else tls.context(["h2"])
