"""Start a service for a measurement, with the home of the environment."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

_PATIENCE = 120.0  # seconds


@contextmanager
def serving(port: int, grpc_port: int) -> Iterator[psutil.Process]:
    """Run a service while the block runs; raises TimeoutError if it does not become ready."""
    ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
    command = [sys.executable, "-m", "driftline", "serve", *ports]
    service = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
    try:
        _await_ready(f"http://127.0.0.1:{port}/v2/health/ready")
        yield psutil.Process(service.pid)
    finally:
        service.terminate()
        service.wait()


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"the service did not become ready within {_PATIENCE:.0f} s")
