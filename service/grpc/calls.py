"""Between methods and what carries their calls: grpc.aio, or HTTP/2 connections of our own.

A method is found by its path in one table, and knows of its call what `CallContext` says. A
transport makes a context for every call and brings its answer back.
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
    """One call, as its method sees it; `answer` or `refuse` ends it, once."""

    authorization: bytes | None
    traceparent: str
    leave: Callable[[], None] | None  # set by the method: what to do when the caller leaves

    def seconds_left(self) -> float | None:
        """Until the caller's deadline, None where it has none."""
        ...

    def answer(self, message: bytes, told: TrailingMetadata = ()) -> None:
        """Reply with an encoded message."""
        ...

    def refuse(self, error: DriftlineError, told: TrailingMetadata = ()) -> None:
        """Reply with the status of an error of the tree."""
        ...


def _refuse(error: DriftlineError, context: CallContext) -> None:
    context.refuse(error)


class Unary(msgspec.Struct, frozen=True):
    """One message in, one out; neither function raises.

    `reject` is for a call whose message the transport cannot read.
    """

    handle: Callable[[bytes, CallContext], None]
    reject: Callable[[DriftlineError, CallContext], None] = _refuse


class Streaming(msgspec.Struct, frozen=True):
    """MessageDecoder in, messages out; raises errors of the tree."""

    handle: Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


Method = Unary | Streaming
Methods = Mapping[str, Method]  # by path, as in /package.Service/Method


def parse(read: Callable[[bytes], Request], data: bytes) -> Request:
    """A message from its bytes; raises InvalidRequest."""
    try:
        return read(data)
    except DecodeError:
        raise InvalidRequest(f"the {len(data)} bytes are not the message of this method") from None


def sync_unary(message: Any, answer: Callable[[Any, CallContext], Any]) -> Unary:
    """A method that answers without waiting; `message` is the class of its requests."""

    def handle(data: bytes, context: CallContext) -> None:
        try:
            reply = answer(parse(message.FromString, data), context).SerializeToString()
        except Exception as error:  # noqa: BLE001  # its caller must hear something
            context.refuse(public_error(error))
        else:
            context.answer(reply)

    return Unary(handle)


def async_unary(message: Any, answer: Callable[[Any, CallContext], Awaitable[Any]]) -> Unary:
    """A method that waits before it answers; a caller who leaves ends it."""

    async def run(data: bytes, context: CallContext) -> None:
        try:
            reply = await answer(parse(message.FromString, data), context)
        except Exception as error:  # noqa: BLE001  # its caller must hear something
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
    """What a caller is told of whatever happened; the server's log keeps what nobody foresaw."""
    if isinstance(error, DriftlineError):
        return error
    _logger.error("a call failed", exc_info=error)
    return RunFailed("the call failed; the server's log says why")
