"""What listens for gRPC in one worker: every method in one table, behind the front that is set."""

from typing import Protocol

from access.authorizer import Authorizer
from service.grpc import aio, native, reflection
from service.grpc.authorization import MethodAuthorizer
from service.grpc.health import HEALTH, Health
from service.grpc.servicer import SERVICE, Servicer
from service.settings import Settings


class GrpcListener(Protocol):
    """What listens."""

    async def stop(self, grace: float) -> None:
        """Take no more calls; end when all are answered, after `grace` seconds at the latest."""
        ...


class GrpcServer:
    """All services of the port."""

    def __init__(self, servicer: Servicer, settings: Settings, access: Authorizer) -> None:
        """`start` listens."""
        services = (SERVICE, HEALTH, reflection.REFLECTION)
        self._settings = settings
        self._health = Health(services, lambda: servicer.ready)
        self.methods = {
            **servicer.methods(),
            **self._health.methods(),
            **reflection.methods(services),
        }
        self._listener: GrpcListener | None = None
        self._authorizer = MethodAuthorizer(
            self.methods, access, admin_elsewhere=bool(settings.admin_port)
        )

    async def start(self) -> None:
        """Listen on the shared port; raises SettingError when the address cannot be had."""
        if self._settings.grpc == "native":
            self._listener = await native.start(self._authorizer, self._settings)
        else:
            self._listener = await aio.start(self._authorizer, self._settings)

    async def stop(self) -> None:
        """Take no more calls, and end when those that were taken are answered or time is up."""
        self._health.leave()
        if self._listener is not None:
            await self._listener.stop(self._settings.shutdown_grace_s)
