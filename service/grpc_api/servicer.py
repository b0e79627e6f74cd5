"""inference.GRPCInferenceService: protobuf messages in and out of the pipeline."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from access.authorizer import Authorizer
from eventlog.errors import DriftlineError
from registry.manifest import Manifest, TensorSpec
from service.access.interceptor import authorization_of
from service.call import Answer, Call
from service.classification import check_classes, with_classes
from service.errors import InvalidRequest, NotReady, message_of
from service.grpc_api import extensions
from service.grpc_api import open_inference_pb2 as pb
from service.grpc_api.errors import code_of
from service.grpc_api.stream import in_order
from service.metadata import ServerMetadata, describe
from service.models import Models
from service.openinference import protobuf
from service.openinference.messages import InferRequest
from service.pipeline import Pipeline
from service.repository import Repository
from service.statistics import Statistics

SERVICE = "inference.GRPCInferenceService"
_ACTOR = "grpc"  # where nobody is asked for a key

Request = TypeVar("Request")
Response = TypeVar("Response")
NewCall = Callable[[str, str, str, float | None], Call]


class Servicer:
    """The methods of the service, one for each of the protocol's that Driftline answers."""

    def __init__(  # noqa: PLR0913  # what the methods speak for, all by name
        self,
        *,
        pipeline: Pipeline,
        models: Models,
        repository: Repository,
        statistics: Statistics,
        new_call: NewCall,
        access: Authorizer,
    ) -> None:
        """`new_call` takes model, version, traceparent and the seconds left to answer."""
        self._pipeline = pipeline
        self._models = models
        self._repository = repository
        self._statistics = statistics
        self._new_call = new_call
        self._access = access

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpc server is given."""
        methods: dict[str, tuple[Callable[..., Awaitable[Any]], Any]] = {
            "ServerLive": (self._server_live, pb.ServerLiveRequest),
            "ServerReady": (self._server_ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": (self._model_infer, pb.ModelInferRequest),
            "ModelStatistics": (self._model_statistics, pb.ModelStatisticsRequest),
            "RepositoryIndex": (self._index, pb.RepositoryIndexRequest),
            "RepositoryModelLoad": (self._load, pb.RepositoryModelLoadRequest),
            "RepositoryModelUnload": (self._unload, pb.RepositoryModelUnloadRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _refusing(method, request.FromString),
                response_serializer=lambda response: response.SerializeToString(),
            )
            for name, (method, request) in methods.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _admit(self, model: str, context: Any) -> None:
        """The interceptor let the method pass for some model; now its name is known."""
        given = authorization_of(context.invocation_metadata())
        self._access.admit("predict", given, model)

    async def _server_live(self, _: pb.ServerLiveRequest, __: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _: pb.ServerReadyRequest, __: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._pipeline.ready)

    async def _model_ready(self, request: pb.ModelReadyRequest, _: Any) -> pb.ModelReadyResponse:
        try:
            self._models.resolve(request.name, request.version)
        except NotReady:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _server_metadata(
        self, _: pb.ServerMetadataRequest, __: Any
    ) -> pb.ServerMetadataResponse:
        server = ServerMetadata()
        return pb.ServerMetadataResponse(
            name=server.name, version=server.version, extensions=server.extensions
        )

    async def _model_metadata(
        self, request: pb.ModelMetadataRequest, context: Any
    ) -> pb.ModelMetadataResponse:
        self._admit(request.name, context)
        model = describe(self._models, request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=model.versions,
            platform=model.platform,
            inputs=[_describe(spec) for spec in model.inputs],
            outputs=[_describe(spec) for spec in model.outputs],
        )

    async def _model_infer(
        self, request: pb.ModelInferRequest, context: Any
    ) -> pb.ModelInferResponse:
        self._admit(request.model_name, context)
        metadata = context.invocation_metadata() or ()
        traceparent = next((value for key, value in metadata if key == "traceparent"), "")
        call = self._new_call(
            request.model_name, request.model_version, traceparent, context.time_remaining()
        )
        return _encode(await self._pipeline.infer(call, partial(_decode, request)))

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async def answer(data: bytes) -> bytes:
            try:
                request = _parse(pb.ModelInferRequest.FromString, data)
                answered = await self._model_infer(request, context)
            except DriftlineError as error:
                reply = pb.ModelStreamInferResponse(error_message=message_of(error))
            else:
                reply = pb.ModelStreamInferResponse(infer_response=answered)
            encoded: bytes = reply.SerializeToString()
            return encoded

        async for reply in in_order(requests, answer):
            yield reply

    async def _model_statistics(
        self, request: pb.ModelStatisticsRequest, _: Any
    ) -> pb.ModelStatisticsResponse:
        told = self._statistics.tell(self._models, request.name, request.version)
        return extensions.statistics(told)

    async def _index(
        self, request: pb.RepositoryIndexRequest, _: Any
    ) -> pb.RepositoryIndexResponse:
        return extensions.index(self._repository, request)

    async def _load(
        self, request: pb.RepositoryModelLoadRequest, context: Any
    ) -> pb.RepositoryModelLoadResponse:
        return await extensions.load(self._repository, request, self._actor(context))

    async def _unload(
        self, request: pb.RepositoryModelUnloadRequest, context: Any
    ) -> pb.RepositoryModelUnloadResponse:
        return await extensions.unload(self._repository, request, self._actor(context))

    def _actor(self, context: Any) -> str:
        """Whose key the call carries."""
        return self._access.name_of(authorization_of(context.invocation_metadata())) or _ACTOR


def _decode(message: pb.ModelInferRequest, manifest: Manifest) -> InferRequest:
    request = protobuf.decode_request(message)
    if request.classes:
        check_classes(request.classes, manifest)
    return request


def _encode(answer: Answer) -> pb.ModelInferResponse:
    if answer.request.classes:
        answer = with_classes(answer)
    arrays, outputs = answer.share.outputs, answer.outputs
    return protobuf.encode_response(
        model=answer.version.model,
        version=answer.version.number,
        request_id=answer.request.id,
        parameters=answer.parameters(),
        outputs={name: (outputs[name].datatype, arrays[name]) for name in answer.wanted()},
        raw=answer.request.raw,
    )


def _describe(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )


def _refusing(
    method: Callable[[Request, Any], Awaitable[Response]], read: Callable[[bytes], Request]
) -> Callable[[bytes, Any], Awaitable[Response]]:
    """The method on undecoded bytes, with errors of the tree turned into status codes."""

    async def refusing(data: bytes, context: Any) -> Response:
        try:
            return await method(_parse(read, data), context)
        except DriftlineError as error:
            await context.abort(code_of(error), message_of(error))
            raise

    return refusing


def _parse(read: Callable[[bytes], Request], data: bytes) -> Request:
    try:
        return read(data)
    except DecodeError:
        raise InvalidRequest(f"the {len(data)} bytes are not the message of this method") from None
