"""Commands start quickly: each imports no more than its work needs."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from driftline.cli import COMMANDS
from eventlog.settings import Home
from monitoring.settings import database_address
from monitoring.storage.store import Store
from registry.store import Registry
from tests.tiny_model import register_tiny

# Libraries that take from 20 ms to seconds of CPU to import.
SERVING = {"bentoml", "starlette", "uvicorn", "grpc", "prometheus_client"}
ARRAYS = {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "evidently"}
MODELS = {"onnx", "onnxruntime", "google"}
OTHERS = {"sqlalchemy", "alembic", "kafka", "fsspec", "psutil", "jinja2", "opentelemetry"}
HEAVY = SERVING | ARRAYS | MODELS | OTHERS


class Case(NamedTuple):
    """A command, and what it may not import."""

    command: str
    forbidden: set[str] = HEAVY | {"httpx"}
    error: str = ""  # that it ends with


READS = [
    Case("models"),
    Case("limits tiny"),
    Case("policy tiny"),
    Case("gates tiny"),
    Case("release-policy tiny"),
    Case("history tiny", HEAVY | {"httpx", "asyncio", "crc32c"}),
    Case("shadow status tiny"),
    Case("audit head"),
    Case("trace p-1", error="UnknownPrediction"),
    Case("baseline bare"),
    Case("status"),
    Case("alarms list"),
    Case("alarms silences"),
    Case("webhooks list"),
    Case("deadletters list"),
    Case("ledger"),
    Case("events count"),
    Case("events tail"),
    Case("keys list"),
    Case("config"),
    Case("completion bash"),
    Case("upgrade --check", HEAVY - {"sqlalchemy", "alembic"}),
    Case("doctor", HEAVY - {"sqlalchemy", "alembic"}),
]
# What the monitor needs for a log on disk; its scoring process imports more.
MONITOR = Case(
    "monitor --until-idle --port 0",
    {"pandas", "scipy", "sklearn", "evidently", "onnx"} | (OTHERS - {"jinja2", "psutil"}),
)
# What a command says of itself needs none of what it does.
HELP = [Case(f"{name} --help") for name in COMMANDS]
CASES = [Case("--help", HEAVY | {"yaml", "httpx", "rich", "msgspec"}), *READS, MONITOR, *HELP]

# A process for each command, all of them forked where only the command line is imported.
SCRIPT = """
import json, os, sys
import click
from driftline import cli

for line in json.load(sys.stdin):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            cli.driftline(line.split(), standalone_mode=False)
            error = ""
        except (SystemExit, click.exceptions.Exit) as ended:
            error = ""
        except BaseException as raised:
            error = repr(raised)
        packages = sorted({name.partition(".")[0] for name in sys.modules})
        os.write(writer, json.dumps([error, packages]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as result:
        print(result.read())
    os.wait()
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, set[str]]]:
    """Run every command on a home with a version, a monitor's database and an event log."""
    folder = tmp_path_factory.mktemp("imports")
    home = Home(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BENTOML_HOME", raising=False)
        registry = Registry(home)
        registry.promote("tiny", register_tiny(registry, folder / "files").number)
        registry.register(folder / "files" / "model.onnx", model="bare")
    Store(database_address(home)).close()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DRIFT", "BENTO"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([case.command for case in CASES]),
        env={**environment, "DRIFTLINE_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=540,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {case.command: (e, {*p}) for case, (e, p) in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=[case.command for case in CASES])
def test_a_command_imports_no_more_than_it_needs(
    case: Case, imported: dict[str, tuple[str, set[str]]]
) -> None:
    error, packages = imported[case.command]
    assert error.partition("(")[0] == case.error
    assert packages & case.forbidden == set()
