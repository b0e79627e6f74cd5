"""Serve gRPC by grpc.aio, the server of the package grpcio, in the worker's event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import grpc

from access.authorization_header import join_headers
from access.errors import AccessError
from access.tls import Tls, TlsRenewal
from eventlog.errors import DriftlineError, SettingError
from service.auth.configuration import tls_of
from service.errors import Expired, InvalidRequest, message_of
from service.grpc.authorization import MethodAuthorizer
from service.grpc.calls import Method, Streaming, TrailingMetadata, Unary, public_error
from service.grpc.errors import code_of
from service.grpc.limits import (
    LONGEST_AIO_CONNECTION_S,
    LONGEST_METADATA,
    MOST_AWAITED_MESSAGES,
    MOST_AWAITED_OPEN_MESSAGES,
    MOST_OPEN_AIO_CALLS,
    MOST_STREAMS,
    OPEN_MESSAGE_S,
)
from service.grpc.slots import CallSlots
from service.settings import Settings, connection_limits

_MESSAGE_OVERHEAD = 1 << 20  # maximum size of names, shapes and parameters, in bytes
_Reply = tuple[bytes, TrailingMetadata]


async def start(authorizer: MethodAuthorizer, settings: Settings) -> grpc.aio.Server:
    """Listen on the shared port; raises SettingError if the address is not available."""
    server = grpc.aio.server(
        options=_options(settings),
        # This limit includes calls whose message has not arrived; `_Slots` limits running calls.
        maximum_concurrent_rpcs=settings.max_grpc_calls + MOST_OPEN_AIO_CALLS,
    )
    slots = _Slots(settings.max_grpc_calls, settings.request_timeout_s)
    server.add_generic_rpc_handlers((_Handlers(authorizer, slots),))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        _listen(server, address, tls_of(settings))
    except RuntimeError as error:
        raise SettingError(f"gRPC cannot listen on {address}: {error}") from None
    await server.start()
    return server


def _options(settings: Settings) -> list[tuple[str, int]]:
    limit, timeout_ms = settings.max_body_bytes, settings.client_timeout_s * 1_000
    pending = settings.max_grpc_calls + MOST_OPEN_AIO_CALLS
    return [
        ("grpc.so_reuseport", 1),  # every worker listens; the kernel distributes connections
        ("grpc.max_metadata_size", LONGEST_METADATA),
        ("grpc.absolute_max_metadata_size", LONGEST_METADATA),
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit + _MESSAGE_OVERHEAD),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        # Above these limits (default 1,000), grpc cancels calls at random, also of honest clients.
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", pending * 2),
        ("grpc.max_allowed_incoming_connections", connection_limits(settings).connections),
        ("grpc.server_handshake_timeout_ms", timeout_ms),
        ("grpc.http2.settings_timeout", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # keepalive uses this, not its timeout below
        ("grpc.keepalive_time_ms", settings.keep_alive_s * 1_000),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.max_connection_idle_ms", settings.keep_alive_s * 1_000),
        ("grpc.max_connection_age_ms", LONGEST_AIO_CONNECTION_S * 1_000),
        ("grpc.max_connection_age_grace_ms", round(settings.request_timeout_s * 1_000)),
    ]


def _listen(server: grpc.aio.Server, address: str, tls: Tls | None) -> None:
    if tls is None:
        server.add_insecure_port(address)
        return
    renewal = TlsRenewal(tls, lambda: _certificates(tls))
    credentials = grpc.dynamic_ssl_server_credentials(
        renewal.current,
        lambda: renewal.current if renewal.renewed() else None,
        require_client_authentication=bool(tls.client_ca),
    )
    server.add_secure_port(address, credentials)


def _certificates(tls: Tls) -> Any:
    """Return the certificates for TLS handshakes; raises SettingError if the files do not match."""
    tls.check()
    pair = Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes()
    authority = Path(tls.client_ca).read_bytes() if tls.client_ca else None
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """The handler of all calls, which authorizes them and runs their methods."""

    def __init__(self, authorizer: MethodAuthorizer, slots: "_Slots") -> None:
        self._authorizer = authorizer
        self._slots = slots

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return a handler that answers or refuses the call, None for an unknown method."""
        pairs = tuple(details.invocation_metadata or ())
        metadata = dict(pairs)
        values = [_as_bytes(value) for name, value in pairs if name == "authorization"]
        metadata["authorization"] = join_headers(values)
        try:
            method = self._authorizer.authorize(
                details.method, metadata["authorization"], _as_bytes(metadata.get("origin"))
            )
        except AccessError as error:
            # This handler also suits unary methods, because it sends the status without reading.
            return grpc.stream_stream_rpc_method_handler(partial(_refuse, error))
        if method is None:
            return None
        if self._authorizer.is_open(details.method):
            return grpc.stream_stream_rpc_method_handler(
                partial(_answer_open, self._slots, method, metadata)
            )
        return _handler(self._slots, method, metadata)


class _Slots:
    """The slots of running calls, and of calls whose message has not arrived."""

    def __init__(self, most_calls: int, message_s: float) -> None:
        """`message_s` is the timeout for the message of a call that needs a key."""
        self.running = CallSlots(most_calls, MOST_OPEN_AIO_CALLS)
        self.open_messages = CallSlots(0, MOST_AWAITED_OPEN_MESSAGES)
        self.message_s = message_s
        # grpc does not report a call that ends before its message arrives; it deletes the handler.
        self._awaited: WeakSet[_Awaited] = WeakSet()

    def await_message(self) -> "_Awaited":
        """Count a call that needs a key until its message arrives or the call ends."""
        awaited = _Awaited()
        self._awaited.add(awaited)
        awaited.is_timed = len(self._awaited) > MOST_AWAITED_MESSAGES
        return awaited

    def arrived(self, awaited: "_Awaited") -> None:
        """Record that the message has arrived."""
        self._awaited.discard(awaited)


class _Awaited:
    """A call whose message has not arrived."""

    __slots__ = ("__weakref__", "is_timed")
    is_timed: bool  # whether the message has a timeout


def _handler(slots: _Slots, method: Method, metadata: dict[str, Any]) -> grpc.RpcMethodHandler:
    if isinstance(method, Unary):
        awaited = slots.await_message()
        if awaited.is_timed:
            return grpc.stream_unary_rpc_method_handler(
                partial(_timed_unary, slots, awaited, method, metadata)
            )
        return grpc.unary_unary_rpc_method_handler(
            partial(_unary_in_slot, slots, awaited, method, metadata)
        )
    return grpc.stream_stream_rpc_method_handler(partial(_streaming, slots, method, metadata))


class _AioCall:
    """The context of a call; `metadata` are the call's headers."""

    __slots__ = (
        "_reply",
        "authorization",
        "on_cancel",
        "routing_key",
        "seconds_left",
        "traceparent",
    )

    def __init__(self, metadata: dict[str, Any], context: Any) -> None:
        self.authorization: bytes | None = metadata["authorization"]
        self.traceparent: str = metadata.get("traceparent", "")
        self.routing_key: str = metadata.get("driftline-routing-key", "")
        self.seconds_left: Callable[[], float | None] = context.time_remaining
        self.on_cancel: Callable[[], None] | None = None
        self._reply: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()

    def answer(self, message: bytes, trailing: TrailingMetadata = ()) -> None:
        """Return the message from `reply`."""
        self._reply.set_result((message, trailing))

    def refuse(self, error: DriftlineError, trailing: TrailingMetadata = ()) -> None:
        """Raise the error from `reply`."""
        self._reply.set_exception(_Refusal(error, trailing))

    async def reply(self) -> _Reply:
        """Wait for the method's reply; raises _Refusal. If cancelled, cancel the request too."""
        try:
            return await self._reply
        except asyncio.CancelledError:
            if self.on_cancel is not None:
                self.on_cancel()
            raise


class _Refusal(Exception):
    """The error that ends a call."""

    def __init__(self, error: DriftlineError, trailing: TrailingMetadata) -> None:
        super().__init__(error)
        self.error = error
        self.trailing = trailing


async def _timed_unary(  # noqa: PLR0913, PLR0917  # partial application needs positions
    slots: _Slots,
    awaited: _Awaited,
    method: Unary,
    metadata: dict[str, Any],
    requests: AsyncIterator[bytes],
    context: Any,
) -> bytes:
    """Answer a unary call if its message arrives in time."""
    try:
        async with asyncio.timeout(slots.message_s):
            data = await anext(requests)
    except TimeoutError:
        late: DriftlineError = Expired(f"no message arrived within {slots.message_s:g} s")
        await _refuse(late, None, context)
        raise
    except StopAsyncIteration:
        await _refuse(InvalidRequest("the call has no message; expected 1 message"), None, context)
        raise
    return await _unary_in_slot(slots, awaited, method, metadata, data, context)


async def _unary_in_slot(  # noqa: PLR0913, PLR0917  # partial application needs positions
    slots: _Slots,
    awaited: _Awaited,
    method: Unary,
    metadata: dict[str, Any],
    data: bytes,
    context: Any,
) -> bytes:
    slots.arrived(awaited)
    slot = _Slot()
    try:
        slots.running.enter(slot, is_open=False)
        return await _unary(method, metadata, data, context)
    except DriftlineError as error:
        await _refuse(error, None, context)
        raise
    finally:
        slots.running.leave(slot)


async def _unary(method: Unary, metadata: dict[str, Any], data: bytes, context: Any) -> bytes:
    call = _AioCall(metadata, context)
    method.handle(data, call)
    try:
        message, trailing = await call.reply()
    except _Refusal as refusal:
        context.set_trailing_metadata(tuple(refusal.trailing))
        await context.abort(code_of(refusal.error), message_of(refusal.error))
        raise
    context.set_trailing_metadata(tuple(trailing))
    return message


async def _streaming(
    slots: _Slots,
    method: Streaming,
    metadata: dict[str, Any],
    requests: AsyncIterator[bytes],
    context: Any,
) -> AsyncIterator[bytes]:
    slot = _Slot()
    try:
        slots.running.enter(slot, is_open=False)
        async for reply in method.handle(requests, _AioCall(metadata, context)):
            yield reply
    except Exception as error:  # noqa: BLE001  # the client must get a status
        await _refuse(public_error(error), None, context)
    finally:
        slots.running.leave(slot)


async def _answer_open(
    slots: _Slots,
    method: Method,
    metadata: dict[str, Any],
    requests: AsyncIterator[bytes],
    context: Any,
) -> AsyncIterator[bytes]:
    """Answer a call that needs no key, in a slot and if its message arrives in time."""
    slot = _Slot()
    slots.open_messages.enter(slot, is_open=True)
    try:
        first = await asyncio.wait_for(anext(requests), OPEN_MESSAGE_S)
        slots.open_messages.leave(slot)
        slots.running.enter(slot, is_open=True)
        if isinstance(method, Unary):
            yield await _unary(method, metadata, first, context)
            return
        replies = method.handle(_prepend(first, requests), _AioCall(metadata, context))
        async for reply in replies:
            yield reply
    except TimeoutError:
        error: DriftlineError = Expired(f"no message arrived within {OPEN_MESSAGE_S:.0f} s")
        await _refuse(error, None, context)
    except StopAsyncIteration:
        await _refuse(InvalidRequest("the call has no message; expected 1 message"), None, context)
    except asyncio.CancelledError:
        if slot.error is None:
            raise
        await _refuse(slot.error, None, context)
    except DriftlineError as error:
        await _refuse(error, None, context)
    finally:
        slots.open_messages.leave(slot)
        slots.running.leave(slot)


class _Slot:
    """The slot of a call; a newer call can evict it."""

    def __init__(self) -> None:
        self.error: DriftlineError | None = None
        self._task = asyncio.current_task()

    def evict(self, error: DriftlineError) -> None:
        """End the call with an error."""
        self.error = error
        if self._task is not None:
            self._task.cancel()


async def _prepend(first: bytes, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for request in requests:
        yield request


async def _refuse(error: DriftlineError, _: Any, context: Any) -> None:
    await context.abort(code_of(error), message_of(error))


def _as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
