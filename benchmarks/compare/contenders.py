"""The compared servers: how to start each server, and which request to send."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from benchmarks.compare import requests
from benchmarks.compare.environments import environment
from benchmarks.compare.models import Subject
from benchmarks.compare.requests import Question

_SERVERS = Path(__file__).parent / "servers"
_EVERYWHERE = frozenset({"small", "deep", "large"})
_RAW = _EVERYWHERE | {"image"}
OTHER_PORTS = 10  # offset of a server's second and third port from its first


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A server with one protocol; `floor` names the bare handler to compare it with."""

    name: str
    floor: str
    command: Callable[[int, Subject, Path], list[str]]  # port, subject, empty folder
    question: Callable[[Subject], Question]
    environment: Mapping[str, str] = {}
    subjects: frozenset[str] = _EVERYWHERE
    peer: bool = False


def driftline(*options: str, grpc: bool = False) -> Callable[[int, Subject, Path], list[str]]:
    """Return the command line of `driftline serve` for REST or gRPC on a port."""

    def command(port: int, _subject: Subject, _folder: Path) -> list[str]:
        rest, other = (port + OTHER_PORTS, port) if grpc else (port, port + OTHER_PORTS)
        ports = ["--port", str(rest), "--grpc-port", str(other)]
        return [sys.executable, "-m", "driftline", "serve", *ports, *options]

    return command


def _bare_asgi(port: int, _subject: Subject, _folder: Path) -> list[str]:
    quiet = ["--no-access-log", "--log-level", "warning"]
    target = "benchmarks.compare.servers.bare_asgi:app"
    return [sys.executable, "-m", "uvicorn", target, "--port", str(port), *quiet]


def _bare_grpc(port: int, _subject: Subject, _folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.compare.servers.bare_grpc", str(port)]


def _bentoml(port: int, _subject: Subject, _folder: Path) -> list[str]:
    bentoml = environment("bentoml") / "bentoml"
    where = ["--working-dir", str(_SERVERS), "--host", "127.0.0.1", "--port", str(port)]
    return [str(bentoml), "serve", "stock_bentoml:Stock", *where]


def _litserve(port: int, _subject: Subject, _folder: Path) -> list[str]:
    return [str(environment("litserve") / "python"), str(_SERVERS / "litserve_app.py"), str(port)]


def _mlserver(port: int, subject: Subject, folder: Path) -> list[str]:
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + OTHER_PORTS,
        "metrics_port": port + 2 * OTHER_PORTS,
        "metrics_dir": str(folder),
        "parallel_workers": 0,  # the cheapest mode: the model runs in the server's process
    }
    model = {
        "name": subject.name,
        "implementation": "mlserver_runtime.OnnxModel",
        "max_batch_size": 64,
        "max_batch_time": 0.001,
    }
    (folder / "settings.json").write_bytes(msgspec.json.encode(settings))
    (folder / "model-settings.json").write_bytes(msgspec.json.encode(model))
    return [str(environment("mlserver") / "mlserver"), "start", str(folder)]


# The largest run queues 128 requests of 1 MiB.
_ROOM = {"DRIFTLINE_SERVICE_MAX_QUEUE_BYTES": str(1 << 30)}
BARE = "bare ASGI callable, JSON"
BARE_BINARY = "bare ASGI callable, binary"
BARE_GRPC = "bare grpc.aio handler"

CONTENDERS = [
    Contender(name=BARE, floor=BARE, command=_bare_asgi, question=requests.open_inference_json),
    Contender(
        name="Driftline, JSON",
        floor=BARE,
        command=driftline(),
        question=requests.open_inference_json,
        environment=_ROOM,
    ),
    Contender(
        name="BentoML, batchable",
        floor=BARE,
        command=_bentoml,
        question=requests.plain_rows,
        peer=True,
    ),
    Contender(
        name="MLServer",
        floor=BARE,
        command=_mlserver,
        question=requests.open_inference_json,
        environment={"PYTHONPATH": str(_SERVERS)},
        peer=True,
    ),
    Contender(
        name="LitServe",
        floor=BARE,
        command=_litserve,
        question=requests.plain_rows,
        peer=True,
    ),
    Contender(
        name=BARE_BINARY,
        floor=BARE_BINARY,
        command=_bare_asgi,
        question=requests.open_inference_binary,
        subjects=frozenset({"large", "image"}),
    ),
    Contender(
        name="Driftline, binary",
        floor=BARE_BINARY,
        command=driftline(),
        question=requests.open_inference_binary,
        environment=_ROOM,
        subjects=frozenset({"large", "image"}),
    ),
    Contender(
        name="Driftline, binary, 1 payload in 100 logged",
        floor=BARE_BINARY,
        command=driftline(),
        question=requests.sampled_binary,
        environment=_ROOM,
        subjects=frozenset({"large"}),
    ),
    Contender(
        name=BARE_GRPC,
        subjects=_RAW,
        floor=BARE_GRPC,
        command=_bare_grpc,
        question=requests.open_inference_grpc,
    ),
    Contender(
        name="Driftline, gRPC by grpc.aio",
        subjects=_RAW,
        floor=BARE_GRPC,
        command=driftline(grpc=True),
        question=requests.open_inference_grpc,
        environment=_ROOM | {"DRIFTLINE_SERVICE_GRPC": "aio"},
    ),
    Contender(
        name="Driftline, gRPC native",
        subjects=_RAW,
        floor=BARE_GRPC,
        command=driftline(grpc=True),
        question=requests.open_inference_grpc,
        environment=_ROOM | {"DRIFTLINE_SERVICE_GRPC": "native"},
    ),
]


def environ(contender: Contender, subject: Subject) -> dict[str, str]:
    """Return the environment variables of a contender's processes."""
    return {**os.environ, "COMPARE_MODEL": str(subject.path), **contender.environment}
