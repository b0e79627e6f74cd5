"""inference.GRPCInferenceService: the table of its methods."""

from access.authorizer import Authorizer
from registry.errors import UnknownModel, UnknownVersion
from registry.manifest import TensorSpec
from service.auth.key_limits import KeyLimits
from service.errors import NotReady
from service.grpc import extensions
from service.grpc.calls import CallContext, Methods, async_unary, sync_unary
from service.grpc.inference import GrpcInference, NewCall
from service.models.configuration import configure
from service.models.loaded_models import LoadedModels
from service.models.metadata import ServerMetadata, describe
from service.models.repository import ModelRepository
from service.pipeline import Pipeline
from service.protocol import open_inference_pb2 as pb
from service.telemetry.statistics import Statistics

SERVICE = "inference.GRPCInferenceService"
_ACTOR = "grpc"  # actor of operations if the service requires no key


class Servicer:
    """The handlers of the protocol's methods."""

    def __init__(  # noqa: PLR0913  # dependencies of the methods, all by name
        self,
        *,
        pipeline: Pipeline,
        models: LoadedModels,
        repository: ModelRepository,
        statistics: Statistics,
        new_call: NewCall,
        access: Authorizer,
        limits: KeyLimits,
    ) -> None:
        """`new_call` accepts model, selector, traceparent, seconds left and routing key."""
        self._pipeline = pipeline
        self._models = models
        self._repository = repository
        self._statistics = statistics
        self._access = access
        self._inference = GrpcInference(pipeline, new_call, access, limits)

    @property
    def ready(self) -> bool:
        """Whether every model is ready."""
        return self._pipeline.ready

    def methods(self) -> Methods:
        """Return every method by its path."""
        methods: Methods = {
            "ModelInfer": self._inference.unary,
            "ModelStreamInfer": self._inference.streaming,
            "ServerLive": sync_unary(pb.ServerLiveRequest, self._server_live),
            "ServerReady": sync_unary(pb.ServerReadyRequest, self._server_ready),
            "ModelReady": sync_unary(pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": sync_unary(pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": sync_unary(pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": sync_unary(pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": sync_unary(pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": sync_unary(pb.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": async_unary(pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": async_unary(pb.RepositoryModelUnloadRequest, self._unload),
        }
        return {f"/{SERVICE}/{name}": method for name, method in methods.items()}

    def _server_live(self, _: pb.ServerLiveRequest, __: CallContext) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def _server_ready(self, _: pb.ServerReadyRequest, __: CallContext) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._pipeline.ready)

    def _model_ready(self, request: pb.ModelReadyRequest, _: CallContext) -> pb.ModelReadyResponse:
        try:
            self._models.check_ready(request.name, request.version)
        except (NotReady, UnknownModel, UnknownVersion):  # like Triton, reply "not ready"
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    def _server_metadata(
        self, _: pb.ServerMetadataRequest, __: CallContext
    ) -> pb.ServerMetadataResponse:
        server = ServerMetadata()
        return pb.ServerMetadataResponse(
            name=server.name, version=server.version, extensions=server.extensions
        )

    def _model_metadata(
        self, request: pb.ModelMetadataRequest, context: CallContext
    ) -> pb.ModelMetadataResponse:
        # The server has checked the scope for any model; check it for this model.
        self._access.admit("predict", context.authorization, request.name)
        model = describe(self._models, request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=model.versions,
            platform=model.platform,
            inputs=[_describe(spec) for spec in model.inputs],
            outputs=[_describe(spec) for spec in model.outputs],
        )

    def _model_config(
        self, request: pb.ModelConfigRequest, context: CallContext
    ) -> pb.ModelConfigResponse:
        self._access.admit("predict", context.authorization, request.name)
        return extensions.config(configure(self._models, request.name, request.version))

    def _model_statistics(
        self, request: pb.ModelStatisticsRequest, _: CallContext
    ) -> pb.ModelStatisticsResponse:
        statistics = self._statistics.of_versions(
            self._models.select(request.name, request.version)
        )
        return extensions.statistics(statistics)

    def _index(
        self, request: pb.RepositoryIndexRequest, _: CallContext
    ) -> pb.RepositoryIndexResponse:
        return extensions.index(self._repository, request)

    async def _load(
        self, request: pb.RepositoryModelLoadRequest, context: CallContext
    ) -> pb.RepositoryModelLoadResponse:
        return await extensions.load(self._repository, request, self._actor(context))

    async def _unload(
        self, request: pb.RepositoryModelUnloadRequest, context: CallContext
    ) -> pb.RepositoryModelUnloadResponse:
        return await extensions.unload(self._repository, request, self._actor(context))

    def _actor(self, context: CallContext) -> str:
        """Return the actor of the call's key."""
        return self._access.actor_of(context.authorization) or _ACTOR


def _describe(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
