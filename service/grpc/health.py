"""grpc.health.v1.Health: report the worker's readiness, once or as a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from grpc_health.v1 import health_pb2 as pb

from service.errors import UnknownService
from service.grpc.calls import CallContext, Methods, Streaming, parse, sync_unary

HEALTH = "grpc.health.v1.Health"
WATCH_INTERVAL_S = 0.25


class Health:
    """The status of every service of the port, which is the worker's."""

    def __init__(self, services: Iterable[str], ready: Callable[[], bool]) -> None:
        """`ready` returns whether the worker is ready; the empty name means all services."""
        self._services = {"", *services}
        self._ready = ready
        self._leaving = False
        self._changed = asyncio.Event()  # replaced at each change
        self._watches = 0
        self._looking: asyncio.Task[None] | None = None

    def methods(self) -> Methods:
        """Return every method by its path."""
        return {
            f"/{HEALTH}/Check": sync_unary(pb.HealthCheckRequest, self._check),
            f"/{HEALTH}/Watch": Streaming(self._watch),
        }

    def leave(self) -> None:
        """Report NOT_SERVING from now on, and end all watch streams."""
        self._leaving = True
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _look(self) -> None:
        """Wake the watches at each change: one task for all of them."""
        reported = self._status()
        while self._watches:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if (status := self._status()) != reported:
                reported = status
                self._announce()

    def _status(self) -> int:
        well = self._ready() and not self._leaving
        status: int = (pb.HealthCheckResponse.NOT_SERVING, pb.HealthCheckResponse.SERVING)[well]
        return status

    def _check(self, request: pb.HealthCheckRequest, _: CallContext) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            names = ", ".join(sorted(filter(None, self._services)))
            raise UnknownService(f"service {request.service!r}: unknown; expected one of {names}")
        return pb.HealthCheckResponse(status=self._status())

    async def _watch(self, requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        self._watches += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async for data in requests:
                request = parse(pb.HealthCheckRequest.FromString, data)
                async for status in self._statuses(request.service in self._services):
                    yield pb.HealthCheckResponse(status=status).SerializeToString()
                return
        finally:
            self._watches -= 1

    async def _statuses(self, known_service: bool) -> AsyncIterator[int]:  # noqa: FBT001
        """Yield the status and each later one, until the worker leaves."""
        reported: int | None = None
        while True:
            changed = self._changed
            status = self._status() if known_service else pb.HealthCheckResponse.SERVICE_UNKNOWN
            if status != reported:
                yield status
                reported = status
            if self._leaving:
                return
            await changed.wait()
