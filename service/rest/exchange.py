"""An inference request over HTTP and its reply."""

import asyncio
from functools import partial
from typing import Any, ClassVar, Protocol

from access.errors import AccessError
from eventlog.errors import DriftlineError
from registry.manifest import Manifest
from service.call import InferenceResponse
from service.errors import KeyLimitReached, Overloaded, TooLarge
from service.protocol import binary, json
from service.protocol.classification import check_classes
from service.protocol.messages import InferRequest
from service.rest.content import decode_body
from service.rest.dependencies import InferenceDependencies
from service.rest.head import Head
from service.rest.replies import encode_error, encode_response

_MOST_PARSED = 65_536  # size of JSON up to which a refused request's parameters are read
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ReplyChannel(Protocol):
    """The interface of the request's connection."""

    proven: bool  # whether a request of this connection was authorized

    def write(self, data: bytes) -> None:
        """Send bytes that are not the reply."""
        ...

    def reply(self, exchange: "Exchange", message: list[bytes]) -> None:
        """Send the reply, whose first item is the status line; then start the next request."""
        ...


class Exchange:
    """A request whose body is collected and then submitted, and which is answered once.

    It replaces uvicorn's request-response cycle, and some of its names are from uvicorn.
    """

    __slots__ = (
        "_begun",
        "_buffered",
        "_call",
        "_channel",
        "_ended",
        "_head",
        "_inference",
        "_pieces",
        "_size",
        "disconnected",
        "keep_alive",
        "response_complete",
    )  # fmt: skip
    message_event: ClassVar = asyncio.Event()  # uvicorn sets this event; nothing awaits it

    def __init__(self, channel: ReplyChannel, inference: InferenceDependencies, head: Head) -> None:
        """Create the request; its head is complete, its body follows."""
        self._channel = channel
        self._inference = inference
        self._head = head
        self._call = inference.new_call(
            "rest", head.model, head.selector, head.traceparent, routing_key=head.routing_key
        )
        self._pieces: list[bytes] = []
        self._size = 0
        self._buffered = 0  # bytes counted in the worker's buffered bytes
        self._begun = False
        self._ended = False
        self.keep_alive = head.keep_alive
        self.response_complete = False
        self.disconnected = False

    def begin(self) -> None:
        """Authorize and submit the request; earlier requests of the connection are answered."""
        if self.response_complete:
            return
        self._begun = True
        self._call.authorization = self._head.authorization
        authorizer, foreign = self._inference.authorizer, self._head.foreign
        try:
            authorizer.admit("predict", self._head.authorization, self._head.model)
        except AccessError as error:
            self._reject(error)
            return
        if foreign is not None and authorizer.is_open:
            self._inference.guard.count(foreign)
            self._reject(foreign)
            return
        self._channel.proven = True
        limit = self._inference.max_body_bytes
        if self._head.length is not None and self._head.length > limit:
            self._refuse(
                TooLarge(f"the body has {self._head.length} bytes; expected at most {limit}")
            )
        elif self._ended:
            self._answer()
        elif self._head.expects_continue:
            self._channel.write(_CONTINUE)

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body; refuse a body over the limit."""
        if self.response_complete:
            return
        self._size += len(piece)
        limit = self._inference.max_body_bytes
        if self._size <= limit:
            self._pieces.append(piece)
            if self._size != self._head.length:
                self._count_buffered(len(piece))
        elif self._begun:
            self._refuse(
                TooLarge(f"the body has more than {limit} bytes; expected at most {limit}")
            )

    def end(self) -> None:
        """Mark the body as complete; submit the request if `begin` was called."""
        self._ended = True
        if self._begun and not self.response_complete:
            self._answer()

    def cancel(self) -> None:
        """Cancel the request, because the client has disconnected."""
        if not self.response_complete:
            self.response_complete = True
            self._release()
            self._call.end_account()
            self._inference.pipeline.cancel(self._call)

    def _answer(self) -> None:
        self._release()
        pieces, self._pieces = self._pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        inference = self._inference
        if inference.limits.bound_requests and not self._is_admitted(len(body)):
            return
        decode = partial(_decode, body, self._head, self._inference.max_body_bytes)
        read_parameters = partial(_read_parameters, body, self._head)
        inference.pipeline.submit(self._call, decode, self._reply, read_parameters)

    def _is_admitted(self, size: int) -> bool:
        """Count the request for its key; if the key has reached a limit, refuse the request."""
        inference = self._inference
        try:
            key = inference.authorizer.actor_of(self._head.authorization)
            self._call.account = inference.limits.admit(key, size)
        except KeyLimitReached as error:
            self._reply(error)
            return False
        return True

    def _count_buffered(self, size: int) -> None:
        """Count bytes in the worker's buffered bytes; over the limit, refuse the request."""
        if not self._begun:  # only a few bytes arrive, because reading is paused
            return
        try:
            self._inference.buffered.add(size)
        except Overloaded as error:
            self._refuse(error)
        else:
            self._buffered += size

    def _release(self) -> None:
        if self._buffered:
            self._inference.buffered.release(self._buffered)
            self._buffered = 0

    def _refuse(self, error: DriftlineError) -> None:
        self._reject(self._inference.pipeline.refuse(self._call, error))

    def _reject(self, error: DriftlineError) -> None:
        self._release()
        self.keep_alive = False  # the rest of the body is not read
        self._pieces.clear()
        self._reply(error)

    def _reply(self, outcome: InferenceResponse | DriftlineError) -> None:
        self.response_complete = True
        self._call.end_account()
        if isinstance(outcome, InferenceResponse):
            message = encode_response(outcome, self._head.reply_encoding)
        else:
            message = encode_error(outcome, self._call.prediction_id)
        if self._call.traceparent:
            message.insert(1, f"traceparent: {self._call.traceparent}\r\n".encode())
        self._channel.reply(self, message)


def _read_parameters(body: bytes, head: Head) -> dict[str, Any]:
    """Return the parameters of a refused request, or none if it is large, to keep refusals fast."""
    if head.kind or head.encoding:
        body = decode_body(body, head.kind, head.encoding, _MOST_PARSED)
    length = head.json_length
    text = body if length is None else body[: binary.json_length(length, len(body))]
    return json.read_parameters(text) if len(text) <= _MOST_PARSED else {}


def _decode(body: bytes, head: Head, limit: int, manifest: Manifest) -> InferRequest:
    if head.kind or head.encoding:
        body = decode_body(body, head.kind, head.encoding, limit)
    if head.json_length is None:
        request = json.decode_request(body)
    else:
        request = binary.decode_request(body, head.json_length)
    if request.classes:
        check_classes(request.classes, manifest)
    return request
