"""grpc.health.v1.Health: whether the service answers, asked once or watched."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

from grpc_health.v1 import health_pb2 as pb

from service.errors import UnknownService
from service.grpc.calls import CallContext, Methods, Streaming, parse, sync_unary

HEALTH = "grpc.health.v1.Health"
_LOOK_AGAIN_S = 0.25


class Health:
    """The state of every service of the port, which is that of the worker."""

    def __init__(self, services: Iterable[str], ready: Callable[[], bool]) -> None:
        """`ready` says whether the worker answers; the empty name stands for all services."""
        self._services = {"", *services}
        self._ready = ready
        self._leaving = asyncio.Event()

    def methods(self) -> Methods:
        """Every method by its path."""
        return {
            f"/{HEALTH}/Check": sync_unary(pb.HealthCheckRequest, self._check),
            f"/{HEALTH}/Watch": Streaming(self._watch),
        }

    def leave(self) -> None:
        """Say that the service goes away, and end what watches it."""
        self._leaving.set()

    def _status(self) -> int:
        well = self._ready() and not self._leaving.is_set()
        told: int = (pb.HealthCheckResponse.NOT_SERVING, pb.HealthCheckResponse.SERVING)[well]
        return told

    def _check(self, request: pb.HealthCheckRequest, _: CallContext) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            raise UnknownService(f"no service {request.service!r}")
        return pb.HealthCheckResponse(status=self._status())

    async def _watch(self, requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        told: int | None = None
        async for data in requests:
            request = parse(pb.HealthCheckRequest.FromString, data)
            while True:
                leaving = self._leaving.is_set()
                status = self._status()
                if request.service not in self._services:
                    status = pb.HealthCheckResponse.SERVICE_UNKNOWN
                if status != told:
                    yield pb.HealthCheckResponse(status=status).SerializeToString()
                    told = status
                if leaving:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), _LOOK_AGAIN_S)
