"""grpc.health.v1.Health: report the worker's readiness, once or as a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

from grpc_health.v1 import health_pb2 as pb

from service.errors import UnknownService
from service.grpc.calls import CallContext, Methods, Streaming, parse, sync_unary

HEALTH = "grpc.health.v1.Health"
_WATCH_INTERVAL_S = 0.25


class Health:
    """The status of every service of the port, which is the worker's."""

    def __init__(self, services: Iterable[str], ready: Callable[[], bool]) -> None:
        """`ready` returns whether the worker is ready; the empty name means all services."""
        self._services = {"", *services}
        self._ready = ready
        self._leaving = asyncio.Event()

    def methods(self) -> Methods:
        """Return every method by its path."""
        return {
            f"/{HEALTH}/Check": sync_unary(pb.HealthCheckRequest, self._check),
            f"/{HEALTH}/Watch": Streaming(self._watch),
        }

    def leave(self) -> None:
        """Report NOT_SERVING from now on, and end all watch streams."""
        self._leaving.set()

    def _status(self) -> int:
        well = self._ready() and not self._leaving.is_set()
        status: int = (pb.HealthCheckResponse.NOT_SERVING, pb.HealthCheckResponse.SERVING)[well]
        return status

    def _check(self, request: pb.HealthCheckRequest, _: CallContext) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            known = ", ".join(sorted(filter(None, self._services)))
            raise UnknownService(f"service {request.service!r}: unknown; expected one of {known}")
        return pb.HealthCheckResponse(status=self._status())

    async def _watch(self, requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        reported: int | None = None
        async for data in requests:
            request = parse(pb.HealthCheckRequest.FromString, data)
            while True:
                leaving = self._leaving.is_set()
                status = self._status()
                if request.service not in self._services:
                    status = pb.HealthCheckResponse.SERVICE_UNKNOWN
                if status != reported:
                    yield pb.HealthCheckResponse(status=status).SerializeToString()
                    reported = status
                if leaving:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), _WATCH_INTERVAL_S)
