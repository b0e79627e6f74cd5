"""grpc.health.v1.Health: report whether the worker is ready, once or as a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from grpc_health.v1 import health_pb2 as pb

from service.errors import UnknownService
from service.grpc.calls import CallContext, Methods, Streaming, parse, sync_unary

HEALTH = "grpc.health.v1.Health"
POLL_INTERVAL_S = 0.25  # seconds between checks of the status, for Watch streams


class Health:
    """The health service; all services of the port have the worker's status."""

    def __init__(self, services: Iterable[str], ready: Callable[[], bool]) -> None:
        """`services` are the services of the port; `ready` returns whether the worker is ready."""
        self._services = {"", *services}
        self._ready = ready
        self._stopping = False
        self._changed = asyncio.Event()  # set and replaced at each change of the status
        self._streams = 0  # open Watch streams
        self._poller: asyncio.Task[None] | None = None

    def methods(self) -> Methods:
        """Return every method by its path."""
        return {
            f"/{HEALTH}/Check": sync_unary(pb.HealthCheckRequest, self._check),
            f"/{HEALTH}/Watch": Streaming(self._watch),
        }

    def stop(self) -> None:
        """Report NOT_SERVING from now on, and end all Watch streams."""
        self._stopping = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _poll(self) -> None:
        """Notify all Watch streams of each change, while there are streams."""
        reported = self._status()
        while self._streams:
            await asyncio.sleep(POLL_INTERVAL_S)
            if (status := self._status()) != reported:
                reported = status
                self._notify()

    def _status(self) -> int:
        serving = self._ready() and not self._stopping
        status: int = (pb.HealthCheckResponse.NOT_SERVING, pb.HealthCheckResponse.SERVING)[serving]
        return status

    def _check(self, request: pb.HealthCheckRequest, _: CallContext) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            names = ", ".join(sorted(filter(None, self._services)))
            raise UnknownService(f"service {request.service!r}: unknown; expected one of {names}")
        return pb.HealthCheckResponse(status=self._status())

    async def _watch(self, requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        self._streams += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async for data in requests:
                request = parse(pb.HealthCheckRequest.FromString, data)
                async for status in self._statuses(request.service in self._services):
                    yield pb.HealthCheckResponse(status=status).SerializeToString()
                return
        finally:
            self._streams -= 1

    async def _statuses(self, known_service: bool) -> AsyncIterator[int]:  # noqa: FBT001
        """Yield the status now and after each change, until the worker stops."""
        reported: int | None = None
        while True:
            changed = self._changed
            status = self._status() if known_service else pb.HealthCheckResponse.SERVICE_UNKNOWN
            if status != reported:
                yield status
                reported = status
            if self._stopping:
                return
            await changed.wait()
