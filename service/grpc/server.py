"""Serve all gRPC methods of a worker by the server that the settings select."""

from typing import Protocol

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from service.buffered_bytes import BufferedBytes
from service.grpc import aio, native, reflection
from service.grpc.authorization import MethodAuthorizer
from service.grpc.health import HEALTH, Health
from service.grpc.servicer import SERVICE, Servicer
from service.settings import Settings, grpc_server


class GrpcListener(Protocol):
    """A listening gRPC server."""

    async def stop(self, grace: float) -> None:
        """Refuse new calls; return once all calls are answered, or after `grace` seconds."""
        ...


class GrpcServer:
    """All services of the gRPC port."""

    def __init__(  # noqa: PLR0913, PLR0917  # dependencies of the methods and the port
        self,
        servicer: Servicer,
        settings: Settings,
        access: Authorizer,
        guard: BrowserGuard,
        buffered: BufferedBytes,
        share: native.Share | None = None,
    ) -> None:
        """Build the table of methods; `share` distributes the native server's connections."""
        self._share = share
        self._buffered = buffered
        services = (SERVICE, HEALTH, *reflection.REFLECTION)
        self._settings = settings
        self._health = Health(services, lambda: servicer.ready)
        self.methods = {
            **servicer.methods(),
            **self._health.methods(),
            **reflection.methods(services),
        }
        self._listener: GrpcListener | None = None
        self._authorizer = MethodAuthorizer(
            self.methods, access, guard, admin_elsewhere=bool(settings.admin_port)
        )

    async def start(self) -> None:
        """Listen on the shared port; raises SettingError if the address is not available."""
        if grpc_server(self._settings) == "native":
            self._listener = await native.start(
                self._authorizer, self._settings, self._buffered, self._share
            )
        else:
            self._listener = await aio.start(self._authorizer, self._settings)

    async def stop(self) -> None:
        """Refuse new calls; return once all calls are answered, or after the grace period."""
        self._health.stop()
        if self._listener is not None:
            await self._listener.stop(self._settings.shutdown_grace_s)
