"""Encode the model repository and statistics extensions as protobuf messages."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from service.models.configuration import ModelConfiguration
from service.models.repository import IndexEntry, ModelRepository
from service.protocol import open_inference_pb2 as pb
from service.telemetry.statistics import Duration, ModelStatistics


def index(
    repository: ModelRepository, request: pb.RepositoryIndexRequest
) -> pb.RepositoryIndexResponse:
    """List the versions and their states."""
    entries: Sequence[IndexEntry] = repository.index(ready=request.ready)
    return pb.RepositoryIndexResponse(
        models=[
            pb.RepositoryIndexResponse.ModelIndex(
                name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
            )
            for entry in entries
        ]
    )


async def load(
    repository: ModelRepository, request: pb.RepositoryModelLoadRequest, actor: str
) -> pb.RepositoryModelLoadResponse:
    """Load the requested versions; raises the errors of `ModelRepository.load`."""
    await repository.load(request.model_name, _values(request.parameters), actor=actor)
    return pb.RepositoryModelLoadResponse()


async def unload(
    repository: ModelRepository, request: pb.RepositoryModelUnloadRequest, actor: str
) -> pb.RepositoryModelUnloadResponse:
    """Unload the requested versions; raises the errors of `ModelRepository.unload`."""
    await repository.unload(request.model_name, _values(request.parameters), actor=actor)
    return pb.RepositoryModelUnloadResponse()


def config(configuration: ModelConfiguration) -> pb.ModelConfigResponse:
    """Encode the configuration of a version."""
    encoded = pb.ModelConfig(
        name=configuration.name,
        platform=configuration.platform,
        backend=configuration.backend,
        max_batch_size=configuration.max_batch_size,
        input=[
            pb.ModelInput(
                name=spec.name, data_type=spec.data_type, dims=spec.dims, optional=spec.optional
            )
            for spec in configuration.input
        ],
        output=[
            pb.ModelOutput(name=spec.name, data_type=spec.data_type, dims=spec.dims)
            for spec in configuration.output
        ],
    )
    if configuration.dynamic_batching is not msgspec.UNSET:
        encoded.dynamic_batching.priority_levels = configuration.dynamic_batching.priority_levels
        level = configuration.dynamic_batching.default_priority_level
        encoded.dynamic_batching.default_priority_level = level
    return pb.ModelConfigResponse(config=encoded)


def statistics(versions: Sequence[ModelStatistics]) -> pb.ModelStatisticsResponse:
    """Encode the statistics of versions."""
    return pb.ModelStatisticsResponse(model_stats=[_version(version) for version in versions])


def _version(version: ModelStatistics) -> pb.ModelStatistics:
    stats = version.inference_stats
    return pb.ModelStatistics(
        name=version.name,
        version=version.version,
        last_inference=version.last_inference,
        inference_count=version.inference_count,
        execution_count=version.execution_count,
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
                batch_size=batch.batch_size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
            for batch in version.batch_stats
        ],
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)


def _values(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        chosen = parameter.WhichOneof("parameter_choice")
        values[name] = None if chosen is None else getattr(parameter, chosen)
    return values
