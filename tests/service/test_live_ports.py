"""Where a service listens, and that it shares a port with its own workers alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from tests.service.conftest import Service


def test_a_second_service_does_not_share_the_port_of_grpc(
    service: Service, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ports = ["--port", str(free_port()), "--grpc-port", str(service.grpc_port)]
    refused = subprocess.run(
        [sys.executable, "-m", "driftline", "serve", *ports],
        env=service.environment | {"DRIFTLINE_HOME": str(tmp_path / "other")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert f"port {service.grpc_port} on 127.0.0.1 (--grpc-port" in line


@pytest.mark.parametrize(
    ("host", "front", "reached_at"),
    [
        ("localhost", "native", ["127.0.0.1"]),
        ("::", "native", ["127.0.0.1", "[::1]"]),
        ("::", "aio", ["127.0.0.1", "[::1]"]),
    ],
)
def test_both_protocols_listen_on_every_kind_of_host(
    tmp_path: Path, free_port: Callable[[], int], host: str, front: str, reached_at: list[str]
) -> None:
    settings = {"host": host, "grpc": front, "allow_anonymous": "true"}
    service = Service(tmp_path, free_port, **settings)
    try:
        service.start()
        for near in reached_at:
            url = f"http://{near}:{service.port}/v2/health/live"
            assert httpx.get(url, trust_env=False).is_success
            options = [("grpc.enable_http_proxy", 0)]
            with grpc.insecure_channel(f"{near}:{service.grpc_port}", options) as channel:
                grpc.channel_ready_future(channel).result(30)
    finally:
        service.stop()
