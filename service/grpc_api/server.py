"""The grpc.aio server of one worker."""

from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection, reflection_pb2

from access.authorizer import Authorizer
from access.tls import Tls
from eventlog.errors import SettingError
from service.access.interceptor import AccessInterceptor
from service.access.start import tls_of
from service.grpc_api import open_inference_pb2
from service.grpc_api.servicer import SERVICE, Servicer
from service.settings import Settings

_MESSAGE_OVERHEAD = 1 << 20  # names, shapes and parameters beside the values
_LONGEST_METADATA = 16_384  # bytes, as REST's heads


async def start(servicer: Servicer, settings: Settings, access: Authorizer) -> grpc.aio.Server:
    """Listen on the shared port; raises SettingError when the address cannot be had."""
    limit = settings.max_body_bytes
    server = grpc.aio.server(
        interceptors=[AccessInterceptor(access, admin_elsewhere=bool(settings.admin_port))],
        options=[
            ("grpc.so_reuseport", 1),  # every worker listens, the kernel deals out connections
            ("grpc.max_metadata_size", _LONGEST_METADATA),
            ("grpc.absolute_max_metadata_size", _LONGEST_METADATA),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit + _MESSAGE_OVERHEAD),
        ],
        maximum_concurrent_rpcs=settings.max_grpc_calls,
    )
    server.add_generic_rpc_handlers((servicer.handler(),))
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    for name in ("", SERVICE):
        await state.set(name, health_pb2.HealthCheckResponse.SERVING)
    _describe(server)
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        _listen(server, address, tls_of(settings))
    except RuntimeError as error:
        raise SettingError(f"gRPC cannot listen on {address}: {error}") from None
    await server.start()
    return server


def _describe(server: grpc.aio.Server) -> None:
    """Answer clients that ask for the services' descriptions."""
    pool = open_inference_pb2.DESCRIPTOR.pool  # our own, which knows no other service yet
    for other in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(other.DESCRIPTOR.serialized_pb)
    names = (SERVICE, HEALTH, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=pool)


def _listen(server: grpc.aio.Server, address: str, tls: Tls | None) -> None:
    if tls is None:
        server.add_insecure_port(address)
        return
    pair = Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes()
    authority = Path(tls.client_ca).read_bytes() if tls.client_ca else None
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )
    server.add_secure_port(address, credentials)
