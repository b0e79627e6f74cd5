"""The addresses of a service, and ports shared only by its own workers."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests import preloaded
from tests.service.conftest import Service


def test_a_second_service_does_not_share_the_port_of_grpc(
    service: Service, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ports = ["--port", str(free_port()), "--grpc-port", str(service.grpc_port)]
    refused = preloaded.run(
        [sys.executable, "-m", "driftline", "serve", *ports],
        env=service.environment | {"DRIFTLINE_HOME": str(tmp_path / "other")},
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert f"port {service.grpc_port} on 127.0.0.1 (--grpc-port" in line
