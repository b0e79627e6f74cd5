"""Run a short load test on a running service, or on one started for it (`make load`)."""

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
from eventlog.settings import Home
from registry.store import Registry

URL = "http://127.0.0.1:3000"


def main(arguments: list[str]) -> int:
    """Run `driftline load` with the arguments; return its exit status."""
    served = _served()
    if served is None:
        print(f"no service responds at {URL}: starting a service with an example model", flush=True)
        with _service() as hosts:
            return _load([*hosts, *arguments])
    registered = registered_home(served)
    if registered is None:
        names = ", ".join(sorted(served)) or "no model"
        print(
            f"the service at {URL} serves {names}, which {Home.from_environment().root} does not "
            "have: set DRIFTLINE_HOME to its home",
            file=sys.stderr,
        )
        return 2
    home, model = registered
    os.environ["DRIFTLINE_HOME"] = str(home.root)
    return _load(arguments if "--model" in arguments else ["--model", model, *arguments])


def registered_home(served: set[str]) -> tuple[Home, str] | None:
    """Return the home and a model of a running service: this home, or the home of `make run`."""
    home = Home.from_environment()
    for candidate in (home, Home(home.root / "flights")):
        if candidate.root.is_dir() and (models := sorted({*Registry(candidate).models()} & served)):
            return candidate, models[0]
    return None


def _load(arguments: list[str]) -> int:
    short = ["--seconds", "15", "--users", "20", *arguments]
    return subprocess.run(  # noqa: S603 - Driftline's own command
        [sys.executable, "-m", "driftline", "load", *short], check=False
    ).returncode


def _served() -> set[str] | None:
    """Return the models that a running service has loaded; None without a service."""
    try:
        reply = httpx.post(f"{URL}/v2/repository/index", json={"ready": True}, trust_env=False)
        return {entry["name"] for entry in reply.raise_for_status().json()}
    except httpx.HTTPError:
        return None


@contextmanager
def _service() -> Iterator[list[str]]:
    """Run a service with a temporary home; yield the load test's options for it."""
    (ours,) = (contender for contender in CONTENDERS if contender.name == "Driftline, JSON")
    with tempfile.TemporaryDirectory(prefix="driftline-load-") as name:
        folder = Path(name)
        os.environ["DRIFTLINE_HOME"] = str(folder / "home")
        os.environ["BENTOML_HOME"] = str(folder / "bentoml")
        subject = small(folder / "models")
        with running(ours, subject, folder / "run") as server:
            rest, grpc = server.port, server.port + OTHER_PORTS
            hosts = ["--host", f"http://127.0.0.1:{rest}", "--grpc-host", f"127.0.0.1:{grpc}"]
            yield [*hosts, "--model", subject.name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
