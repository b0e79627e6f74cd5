"""The extensions of the protocol over gRPC: model repository and statistics, into messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.models.repository import IndexEntry, ModelRepository
from service.protocol import open_inference_pb2 as pb
from service.telemetry.statistics import Duration, ModelStatistics


def index(
    repository: ModelRepository, request: pb.RepositoryIndexRequest
) -> pb.RepositoryIndexResponse:
    """What there is, and what of it is loaded."""
    entries: Sequence[IndexEntry] = repository.index(ready=request.ready)
    return pb.RepositoryIndexResponse(
        models=[
            pb.RepositoryIndexResponse.ModelIndex(
                name=one.name, version=one.version, state=one.state, reason=one.reason
            )
            for one in entries
        ]
    )


async def load(
    repository: ModelRepository, request: pb.RepositoryModelLoadRequest, actor: str
) -> pb.RepositoryModelLoadResponse:
    """Load what is named; raises what `ModelRepository.load` raises."""
    await repository.load(request.model_name, _plain(request.parameters), actor=actor)
    return pb.RepositoryModelLoadResponse()


async def unload(
    repository: ModelRepository, request: pb.RepositoryModelUnloadRequest, actor: str
) -> pb.RepositoryModelUnloadResponse:
    """Unload what is named; raises what `ModelRepository.unload` raises."""
    await repository.unload(request.model_name, _plain(request.parameters), actor=actor)
    return pb.RepositoryModelUnloadResponse()


def statistics(told: Sequence[ModelStatistics]) -> pb.ModelStatisticsResponse:
    """What versions have done."""
    return pb.ModelStatisticsResponse(model_stats=[_version(one) for one in told])


def _version(told: ModelStatistics) -> pb.ModelStatistics:
    stats = told.inference_stats
    return pb.ModelStatistics(
        name=told.name,
        version=told.version,
        last_inference=told.last_inference,
        inference_count=told.inference_count,
        execution_count=told.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(stats.success),
            fail=_duration(stats.fail),
            queue=_duration(stats.queue),
            compute_input=_duration(stats.compute_input),
            compute_infer=_duration(stats.compute_infer),
            compute_output=_duration(stats.compute_output),
            cache_hit=_duration(stats.cache_hit),
            cache_miss=_duration(stats.cache_miss),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=one.batch_size,
                compute_input=_duration(one.compute_input),
                compute_infer=_duration(one.compute_infer),
                compute_output=_duration(one.compute_output),
            )
            for one in told.batch_stats
        ],
    )


def _duration(told: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=told.count, ns=told.ns)


def _plain(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, one in parameters.items():
        chosen = one.WhichOneof("parameter_choice")
        found[name] = None if chosen is None else getattr(one, chosen)
    return found
