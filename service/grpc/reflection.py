"""grpc.reflection: the services describe themselves to clients that know none of their messages."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.grpc.calls import CallContext, Methods, Streaming, parse
from service.protocol import open_inference_pb2

REFLECTION: str = reflection.SERVICE_NAME


def methods(services: Iterable[str]) -> Methods:
    """Every method by its path; `services` are those to be named."""
    pool = open_inference_pb2.DESCRIPTOR.pool  # our own, which knows no other service yet
    for other in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(other.DESCRIPTOR.serialized_pb)
    servicer = reflection.aio.ReflectionServicer(services, pool=pool)

    async def tell(requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        async for told in servicer.ServerReflectionInfo(_read(requests), None):
            yield told.SerializeToString()

    return {f"/{REFLECTION}/ServerReflectionInfo": Streaming(tell)}


async def _read(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for data in requests:
        yield parse(reflection_pb2.ServerReflectionRequest.FromString, data)
