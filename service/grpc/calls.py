"""The interface between gRPC methods and the servers that carry their calls.

One table maps paths to methods. A server creates a `CallContext` for every call and sends the
method's reply.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from eventlog.errors import DriftlineError
from service.errors import InvalidRequest, RunFailed

TrailingMetadata = Sequence[tuple[str, str]]  # trailing metadata
Request = TypeVar("Request")

_logger = logging.getLogger(__name__)


class CallContext(Protocol):
    """The interface of one call to its method; `answer` or `refuse` ends it, once."""

    authorization: bytes | None
    traceparent: str
    routing_key: str
    leave: Callable[[], None] | None  # set by the method, called when the client cancels

    def seconds_left(self) -> float | None:
        """Return the seconds to the client's deadline, or None without one."""
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
    """A method of one message in and one out; neither function raises.

    `reject` ends a call whose message the server cannot read.
    """

    handle: Callable[[bytes, CallContext], None]
    reject: Callable[[DriftlineError, CallContext], None] = _refuse


class Streaming(msgspec.Struct, frozen=True):
    """A method of many messages in and out; raises DriftlineError."""

    handle: Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


Method = Unary | Streaming
Methods = Mapping[str, Method]  # keyed by path, as in /package.Service/Method


def parse(read: Callable[[bytes], Request], data: bytes) -> Request:
    """Decode a message; raises InvalidRequest."""
    try:
        return read(data)
    except DecodeError:
        raise InvalidRequest(
            f"the {len(data)} bytes are not this method's message; expected protobuf"
        ) from None


def sync_unary(message: Any, answer: Callable[[Any, CallContext], Any]) -> Unary:
    """Return a method that answers at once; `message` is the class of its requests."""

    def handle(data: bytes, context: CallContext) -> None:
        try:
            reply = answer(parse(message.FromString, data), context).SerializeToString()
        except Exception as error:  # noqa: BLE001  # the client must get a status
            context.refuse(public_error(error))
        else:
            context.answer(reply)

    return Unary(handle)


def async_unary(message: Any, answer: Callable[[Any, CallContext], Awaitable[Any]]) -> Unary:
    """Return a method that runs in a task, cancelled if the client cancels."""

    async def run(data: bytes, context: CallContext) -> None:
        try:
            reply = await answer(parse(message.FromString, data), context)
        except Exception as error:  # noqa: BLE001  # the client must get a status
            context.refuse(public_error(error))
        else:
            context.answer(reply.SerializeToString())

    def handle(data: bytes, context: CallContext) -> None:
        task = asyncio.create_task(run(data, context))

        def leave() -> None:
            task.cancel()

        context.leave = leave

    return Unary(handle)


def public_error(error: Exception) -> DriftlineError:
    """Return the error to report to the client; log an unexpected one and hide it."""
    if isinstance(error, DriftlineError):
        return error
    _logger.error("a gRPC call failed", exc_info=error)
    return RunFailed("the call failed; see the server's log")
