"""Start a service for a measurement, with the home that the environment names."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psutil


@contextmanager
def serving(port: int, grpc_port: int, patience: float = 120.0) -> Iterator[psutil.Process]:
    """Run a service while the block runs; TimeoutError if it is not ready after `patience` s."""
    ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
    command = [sys.executable, "-m", "driftline", "serve", *ports]
    service = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
    try:
        _await_ready(service, f"http://127.0.0.1:{port}/v2/health/ready", patience)
        yield psutil.Process(service.pid)
    finally:
        service.terminate()
        service.wait()


def free_ports(count: int) -> list[int]:
    """Return unused loopback ports."""
    with ExitStack() as parts:
        sockets = [parts.enter_context(socket.socket()) for _ in range(count)]
        for free_socket in sockets:
            free_socket.bind(("127.0.0.1", 0))
        return [free_socket.getsockname()[1] for free_socket in sockets]


def _await_ready(service: subprocess.Popen[bytes], url: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if service.poll() is not None:  # another process could respond at its address
            raise RuntimeError(f"the service exited with {service.returncode} when it started")
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"the service did not become ready within {patience:.0f} s")
