"""The interface between gRPC methods and the two gRPC servers.

One table maps paths to methods. For every call, a server creates a `CallContext`, through which the
method replies.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from eventlog.errors import DriftlineError
from service.errors import InvalidRequest, RunFailed

TrailingMetadata = Sequence[tuple[str, str]]  # (name, value)
Request = TypeVar("Request")

_logger = logging.getLogger(__name__)


class CallContext(Protocol):
    """One call, as its method uses it; the method must call `answer` or `refuse` once."""

    authorization: bytes | None
    traceparent: str
    routing_key: str
    on_cancel: Callable[[], None] | None  # set by the method; called if the client cancels

    def seconds_left(self) -> float | None:
        """Return the seconds until the client's deadline, None without a deadline."""
        ...

    def answer(self, message: bytes, trailing: TrailingMetadata = ()) -> None:
        """Reply with an encoded message."""
        ...

    def refuse(self, error: DriftlineError, trailing: TrailingMetadata = ()) -> None:
        """Reply with the status of an error."""
        ...


def _refuse(error: DriftlineError, context: CallContext) -> None:
    context.refuse(error)


class Unary(msgspec.Struct, frozen=True):
    """A method with one request and one reply message; both functions must not raise.

    `reject` ends a call whose message the server could not read.
    """

    handle: Callable[[bytes, CallContext], None]
    reject: Callable[[DriftlineError, CallContext], None] = _refuse


class Streaming(msgspec.Struct, frozen=True):
    """A method with streams of request and reply messages; raises DriftlineError."""

    handle: Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


Method = Unary | Streaming
Methods = Mapping[str, Method]  # path, such as /package.Service/Method -> method


def parse(read: Callable[[bytes], Request], data: bytes) -> Request:
    """Decode a message; raises InvalidRequest."""
    try:
        return read(data)
    except DecodeError:
        raise InvalidRequest(
            f"cannot decode the message of {len(data)} bytes; expected protobuf of this method"
        ) from None


def sync_unary(message: Any, answer: Callable[[Any, CallContext], Any]) -> Unary:
    """Return a method that answers immediately; `message` is the class of its requests."""

    def handle(data: bytes, context: CallContext) -> None:
        try:
            reply = answer(parse(message.FromString, data), context).SerializeToString()
        except Exception as error:  # noqa: BLE001  # the client must get a status
            context.refuse(public_error(error))
        else:
            context.answer(reply)

    return Unary(handle)


def async_unary(message: Any, answer: Callable[[Any, CallContext], Awaitable[Any]]) -> Unary:
    """Return a method that answers in a task, which is cancelled if the client cancels."""

    async def run(data: bytes, context: CallContext) -> None:
        try:
            reply = await answer(parse(message.FromString, data), context)
        except Exception as error:  # noqa: BLE001  # the client must get a status
            context.refuse(public_error(error))
        else:
            context.answer(reply.SerializeToString())

    def handle(data: bytes, context: CallContext) -> None:
        task = asyncio.create_task(run(data, context))

        def cancel() -> None:
            task.cancel()

        context.on_cancel = cancel

    return Unary(handle)


def public_error(error: Exception) -> DriftlineError:
    """Return the error for the client; log an unexpected error and hide its details."""
    if isinstance(error, DriftlineError):
        return error
    _logger.error("a gRPC call failed", exc_info=error)
    return RunFailed("the call failed; see the server's log")
