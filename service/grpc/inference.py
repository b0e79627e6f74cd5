"""The methods ModelInfer and ModelStreamInfer, which connect protobuf messages to the pipeline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from access.authorizer import Authorizer
from access.errors import AccessError
from eventlog.errors import DriftlineError
from registry.manifest import Manifest
from service.auth.key_limits import KeyLimits
from service.call import Call, InferenceResponse
from service.errors import InvalidRequest, KeyLimitReached, Overloaded, message_of
from service.grpc.calls import CallContext, Streaming, TrailingMetadata, Unary, parse
from service.grpc.stream import in_order
from service.pipeline import Pipeline
from service.protocol import open_inference_pb2 as pb
from service.protocol import protobuf
from service.protocol.classification import check_classes
from service.protocol.messages import InferRequest

NewCall = Callable[[str, str, str, float | None, str], Call]
_Outcome = InferenceResponse | DriftlineError


class GrpcInference:
    """The inference methods, with one request per call or many requests per stream."""

    def __init__(
        self, pipeline: Pipeline, new_call: NewCall, access: Authorizer, limits: KeyLimits
    ) -> None:
        """`new_call` accepts model, selector, traceparent, seconds left and routing key."""
        self._pipeline = pipeline
        self._new_call = new_call
        self._access = access
        self._limits = limits
        self.unary = Unary(self._infer, self._reject)
        self.streaming = Streaming(self._stream)

    def _infer(self, data: bytes, context: CallContext) -> None:
        call = self._call(context)

        def reply(outcome: _Outcome) -> None:
            if isinstance(outcome, InferenceResponse):
                context.answer(
                    _encode(outcome).SerializeToString(), _response_metadata(call, outcome)
                )
            else:
                context.refuse(outcome, _error_metadata(call, outcome))

        context.on_cancel = partial(self._cancel, call)
        self._submit(data, call, context, reply)

    def _reject(self, error: DriftlineError, context: CallContext) -> None:
        call = self._call(context)
        reported = self._pipeline.refuse(call, error)
        context.refuse(reported, _error_metadata(call, reported))

    def _call(self, context: CallContext) -> Call:
        """Create a call; its model is set once its message is read."""
        return self._new_call(
            "", "", context.traceparent, context.seconds_left(), context.routing_key
        )

    def _submit(
        self, data: bytes, call: Call, context: CallContext, reply: Callable[[_Outcome], None]
    ) -> None:
        try:
            request = parse(pb.ModelInferRequest.FromString, data)
            # The server has checked the scope for any model; check it for this model.
            self._access.admit("predict", context.authorization, request.model_name)
            if self._limits.bound_requests:
                key = self._access.actor_of(context.authorization)
                call.account = self._limits.admit(key, len(data))
                reply = _with_end_of_account(call, reply)
        except (AccessError, KeyLimitReached) as error:
            reply(error)
        except InvalidRequest as error:
            reply(self._pipeline.refuse(call, error))
        else:
            call.model, call.selector = request.model_name, request.model_version
            call.authorization = context.authorization
            read_parameters = partial(protobuf.read_parameters, request)
            self._pipeline.submit(call, partial(_decode, request), reply, read_parameters)

    def _cancel(self, call: Call) -> None:
        call.end_account()
        self._pipeline.cancel(call)

    async def _stream(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        async for reply in in_order(requests, partial(self._answer_part, context)):
            yield reply

    async def _answer_part(self, context: CallContext, data: bytes) -> bytes:
        """Answer one request of a stream; an error does not end the stream."""
        call = self._call(context)
        future: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._submit(data, call, context, future.set_result)
        try:
            outcome = await future
        except asyncio.CancelledError:
            self._cancel(call)
            raise
        reply = pb.ModelStreamInferResponse()
        if isinstance(outcome, InferenceResponse):
            reply.infer_response.CopyFrom(_encode(outcome))
        else:
            reply.error_message = message_of(outcome)
            reply.infer_response.id = "" if call.request is None else call.request.id
        encoded: bytes = reply.SerializeToString()
        return encoded


def _with_end_of_account(
    call: Call, reply: Callable[[_Outcome], None]
) -> Callable[[_Outcome], None]:
    """Return a reply that first ends the call in its key's account."""

    def end(outcome: _Outcome) -> None:
        call.end_account()
        reply(outcome)

    return end


def _decode(message: pb.ModelInferRequest, manifest: Manifest) -> InferRequest:
    request = protobuf.decode_request(message)
    if request.classes:
        check_classes(request.classes, manifest)
    return request


def _encode(answer: InferenceResponse) -> pb.ModelInferResponse:
    if answer.request.classes:
        answer = answer.with_classes()
    arrays, outputs = answer.run.outputs, answer.outputs
    return protobuf.encode_response(
        model=answer.version.model,
        version=answer.version.number,
        request_id=answer.request.id,
        parameters=answer.parameters(),
        outputs={name: (outputs[name].datatype, arrays[name]) for name in answer.output_names()},
        raw=answer.request.raw,
    )


def _response_metadata(call: Call, answer: InferenceResponse) -> TrailingMetadata:
    """Return version, prediction id and durations, for clients that do not read the message."""
    run = answer.run
    metadata = [
        ("driftline-version", answer.version.number),
        ("driftline-prediction-id", answer.prediction_id),
        ("driftline-queue-us", str(run.queue_us)),
        ("driftline-run-us", str(run.run_us)),
    ]
    if answer.arm is not None:
        metadata += [("driftline-rollout", answer.arm.rollout), ("driftline-arm", answer.arm.name)]
    return [*metadata, ("traceparent", call.traceparent)] if call.traceparent else metadata


def _error_metadata(call: Call, error: DriftlineError) -> TrailingMetadata:
    metadata = []
    if call.prediction_id:
        metadata.append(("driftline-prediction-id", call.prediction_id))
    if call.traceparent:
        metadata.append(("traceparent", call.traceparent))
    if isinstance(error, Overloaded):  # gRPC clients read this before they retry
        metadata.append(("grpc-retry-pushback-ms", str(1_000 * error.retry_after)))
    return metadata
