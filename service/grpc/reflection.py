"""grpc.reflection: describe the services to clients without the proto files."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.grpc.calls import CallContext, Methods, Streaming, parse
from service.protocol import open_inference_pb2

REFLECTION: str = reflection.SERVICE_NAME


def methods(services: Iterable[str]) -> Methods:
    """Return every method by its path; `services` are the names to list."""
    pool = open_inference_pb2.DESCRIPTOR.pool  # a pool of its own, without the other services
    for other in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(other.DESCRIPTOR.serialized_pb)
    servicer = reflection.aio.ReflectionServicer(services, pool=pool)

    async def describe(requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        async for reply in servicer.ServerReflectionInfo(_read(requests), None):
            yield reply.SerializeToString()

    return {f"/{REFLECTION}/ServerReflectionInfo": Streaming(describe)}


async def _read(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for data in requests:
        yield parse(reflection_pb2.ServerReflectionRequest.FromString, data)
