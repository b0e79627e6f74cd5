"""The door of gRPC: refuses a call by its method before its message is read."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

from access.authorizer import Authorizer
from access.errors import AccessError
from eventlog.errors import DriftlineError
from service.access.rules import METHODS
from service.errors import message_of
from service.grpc_api.errors import code_of

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]]


class AccessInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Asks the authorizer for every call; methods that need a model's key ask again by name."""

    def __init__(self, access: Authorizer, *, admin_elsewhere: bool) -> None:
        """`admin_elsewhere`: whether a port of their own serves the methods for operators."""
        self._access = access
        self._admin_elsewhere = admin_elsewhere

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """The handler of the call, one that refuses it, or None for a method there is not."""
        rule = METHODS.get(details.method)
        try:
            given = authorization_of(details.invocation_metadata)
            self._access.admit("any" if rule is None else rule.scope, given)
        except AccessError as error:
            return _refusing(error)
        if rule is None or (rule.admin and self._admin_elsewhere):
            return None
        return await continuation(details)


def authorization_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> bytes | None:
    """The `authorization` among a call's metadata, None where there is none."""
    for name, value in metadata or ():
        if name == "authorization":
            return value.encode() if isinstance(value, str) else value
    return None


def _refusing(error: DriftlineError) -> grpc.RpcMethodHandler:
    async def refuse(_: Any, context: Any) -> None:
        await context.abort(code_of(error), message_of(error))

    # Any kind of call is answered by it: the status comes before the first message is asked for.
    return grpc.stream_stream_rpc_method_handler(refuse)
