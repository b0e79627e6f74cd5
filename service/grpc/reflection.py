"""grpc.reflection: describe the services to clients without the proto files.

Both versions of the protocol are served: v1, which grpcurl and ghz use, and v1alpha. The encodings
of their messages are equal.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.grpc.calls import CallContext, Methods, Streaming, parse
from service.protocol import open_inference_pb2

V1ALPHA: str = reflection.SERVICE_NAME
V1 = V1ALPHA.replace("v1alpha", "v1")
REFLECTION = (V1, V1ALPHA)  # names of the reflection services


def methods(services: Iterable[str]) -> Methods:
    """Return every method by its path; `services` are the names that reflection lists."""
    pool = open_inference_pb2.DESCRIPTOR.pool  # a separate pool, without the other services
    for other in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(other.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_v1().SerializeToString())
    servicer = reflection.aio.ReflectionServicer(services, pool=_MethodPool(pool))

    async def describe(requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        async for reply in servicer.ServerReflectionInfo(_read(requests), None):
            yield reply.SerializeToString()

    return {f"/{service}/ServerReflectionInfo": Streaming(describe) for service in REFLECTION}


class _MethodPool:
    """A descriptor pool that also finds methods by name; protobuf's pool finds only services."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's
        """Return the file that declares a message, service, field or method; raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            descriptor = self._pool.FindServiceByName(service)
            if method not in descriptor.methods_by_name:
                raise
            return descriptor.file


def _v1() -> descriptor_pb2.FileDescriptorProto:
    """Return the file of v1, by renaming v1alpha, because the package contains only v1alpha."""
    alpha = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    return text_format.Parse(text, descriptor_pb2.FileDescriptorProto())


async def _read(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for data in requests:
        yield parse(reflection_pb2.ServerReflectionRequest.FromString, data)
