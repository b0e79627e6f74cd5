"""Run a short load on a running service, or on one started for it (`make load`)."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.compare.contenders import CONTENDERS, OTHER_PORTS
from benchmarks.compare.models import small
from benchmarks.compare.server_process import running

URL = "http://127.0.0.1:3000"


def main(arguments: list[str]) -> int:
    """Run `driftline load` with the arguments; return its exit status."""
    if _is_ready():
        return _load(arguments)
    print(f"nothing answers at {URL}: starting a service with a model of its own", flush=True)
    with _service() as hosts:
        return _load([*hosts, *arguments])


def _load(arguments: list[str]) -> int:
    short = ["--seconds", "15", "--users", "20", *arguments]
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "driftline", "load", *short], check=False
    ).returncode


def _is_ready() -> bool:
    try:
        return httpx.get(f"{URL}/v2/health/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _service() -> Iterator[list[str]]:
    """Run a service on a temporary home; yield the options that address it."""
    (ours,) = (one for one in CONTENDERS if one.name == "Driftline, JSON")
    with tempfile.TemporaryDirectory(prefix="driftline-load-") as name:
        folder = Path(name)
        os.environ["DRIFTLINE_HOME"] = str(folder / "home")
        os.environ["BENTOML_HOME"] = str(folder / "bentoml")
        subject = small(folder / "models")
        with running(ours, subject, folder / "run") as server:
            rest, grpc = server.port, server.port + OTHER_PORTS
            yield ["--host", f"http://127.0.0.1:{rest}", "--grpc-host", f"127.0.0.1:{grpc}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
