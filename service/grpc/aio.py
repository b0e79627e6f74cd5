"""The front by grpc.aio: grpc's own server and HTTP/2, in the worker's event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from access.errors import AccessError
from access.tls import Tls
from eventlog.errors import DriftlineError, SettingError
from service.auth.configuration import tls_of
from service.errors import message_of
from service.grpc.authorization import MethodAuthorizer
from service.grpc.calls import Method, Streaming, TrailingMetadata, Unary, public_error
from service.grpc.errors import code_of
from service.grpc.limits import LONGEST_METADATA
from service.settings import Settings

_MESSAGE_OVERHEAD = 1 << 20  # names, shapes and parameters beside the values
_Reply = tuple[bytes, TrailingMetadata]


async def start(authorizer: MethodAuthorizer, settings: Settings) -> grpc.aio.Server:
    """Listen on the shared port; raises SettingError when the address cannot be had."""
    limit = settings.max_body_bytes
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),  # every worker listens, the kernel deals out connections
            ("grpc.max_metadata_size", LONGEST_METADATA),
            ("grpc.absolute_max_metadata_size", LONGEST_METADATA),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit + _MESSAGE_OVERHEAD),
        ],
        maximum_concurrent_rpcs=settings.max_grpc_calls,
    )
    server.add_generic_rpc_handlers((_Handlers(authorizer),))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        _listen(server, address, tls_of(settings))
    except RuntimeError as error:
        raise SettingError(f"gRPC cannot listen on {address}: {error}") from None
    await server.start()
    return server


def _listen(server: grpc.aio.Server, address: str, tls: Tls | None) -> None:
    if tls is None:
        server.add_insecure_port(address)
        return
    pair = Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes()
    authority = Path(tls.client_ca).read_bytes() if tls.client_ca else None
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )
    server.add_secure_port(address, credentials)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Lets calls in by the authorizer, and runs their methods."""

    def __init__(self, authorizer: MethodAuthorizer) -> None:
        self._authorizer = authorizer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a call, one that refuses it, or None for a method there is not."""
        told = dict(details.invocation_metadata or ())
        try:
            method = self._authorizer.authorize(
                details.method, _as_bytes(told.get("authorization"))
            )
        except AccessError as error:
            # Any kind is answered by it: the status comes before the first message is asked for.
            return grpc.stream_stream_rpc_method_handler(partial(_refuse, error))
        return None if method is None else _handler(method, told)


def _handler(method: Method, told: dict[str, Any]) -> grpc.RpcMethodHandler:
    if isinstance(method, Unary):
        return grpc.unary_unary_rpc_method_handler(partial(_unary, method, told))
    return grpc.stream_stream_rpc_method_handler(partial(_streaming, method, told))


class _AioCall:
    """A call's context; `told` is its metadata."""

    __slots__ = ("_reply", "authorization", "leave", "seconds_left", "traceparent")

    def __init__(self, told: dict[str, Any], context: Any) -> None:
        self.authorization = _as_bytes(told.get("authorization"))
        self.traceparent: str = told.get("traceparent", "")
        self.seconds_left: Callable[[], float | None] = context.time_remaining
        self.leave: Callable[[], None] | None = None
        self._reply: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()

    def answer(self, message: bytes, told: TrailingMetadata = ()) -> None:
        """Wake up the coroutine that grpc waits for."""
        self._reply.set_result((message, told))

    def refuse(self, error: DriftlineError, told: TrailingMetadata = ()) -> None:
        """Wake it up with an error."""
        self._reply.set_exception(_Refusal(error, told))

    async def reply(self) -> _Reply:
        """What the method says; raises _Refusal. The caller leaves where this is cancelled."""
        try:
            return await self._reply
        except asyncio.CancelledError:
            if self.leave is not None:
                self.leave()
            raise


class _Refusal(Exception):
    """A call ends with an error."""

    def __init__(self, error: DriftlineError, told: TrailingMetadata) -> None:
        super().__init__(error)
        self.error = error
        self.told = told


async def _unary(method: Unary, told: dict[str, Any], data: bytes, context: Any) -> bytes:
    call = _AioCall(told, context)
    method.handle(data, call)
    try:
        message, trailing = await call.reply()
    except _Refusal as error_trailers:
        context.set_trailing_metadata(tuple(error_trailers.told))
        await context.abort(code_of(error_trailers.error), message_of(error_trailers.error))
        raise
    context.set_trailing_metadata(tuple(trailing))
    return message


async def _streaming(
    method: Streaming, told: dict[str, Any], requests: AsyncIterator[bytes], context: Any
) -> AsyncIterator[bytes]:
    try:
        async for reply in method.handle(requests, _AioCall(told, context)):
            yield reply
    except Exception as error:  # noqa: BLE001  # its caller must hear something
        await _refuse(public_error(error), None, context)


async def _refuse(error: DriftlineError, _: Any, context: Any) -> None:
    await context.abort(code_of(error), message_of(error))


def _as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
