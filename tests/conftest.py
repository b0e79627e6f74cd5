"""Fixtures that all tests share."""

import contextlib
import gc
import importlib
import inspect
import itertools
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

from tests.cpu_seconds import CpuSeconds
from tests.depth import NIGHTLY, by_depth
from tests.kafka_libraries import fetched
from tests.once import made_once
from tests.postgres_server import PostgresServer, running
from tests.tracing import TracedCases

# The test processes are measured, and what they start is not: tracing it would double the run.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_START", None)

# What tests start imports the same thousands of modules hundreds of times: compile them once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a shell or a build server says about its own terminal and clock is not the tests'.
_OF_THE_SHELL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TZ"}
for _name in _OF_THE_SHELL:
    os.environ.pop(_name, None)

# A shared machine may stand still for a second; no test is about speed.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=by_depth(25, 200),
)
settings.load_profile("shared")

# httpx gives up after five seconds, for which a shared machine may stand still, too.
_HTTPX_DEFAULT = inspect.signature(httpx.Client).parameters["timeout"].default
for _step in ("connect", "read", "write", "pool"):
    setattr(_HTTPX_DEFAULT, _step, 120.0)


# They wait for processes and brokers: last, one of them would run alone on an idle machine.
_LONG_FOLDERS = frozenset({"integration", "e2e", "deploy", "docs", "examples", "loadtests"})
_PORTS = range(10_000, 32_000)  # below those that the system gives to clients
_MOST_WORKERS = 8


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that names a loopback port which nobody listens on right now.

    Each process of a parallel run takes its own share of the ports, and no port twice in a row.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = list(_PORTS[worker % _MOST_WORKERS :: _MOST_WORKERS])
    start = secrets.randbelow(len(share))
    candidates = itertools.cycle(share[start:] + share[:start])

    def find() -> int:
        for port in itertools.islice(candidates, len(share)):
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port
        raise AssertionError("no free port")

    return find


@pytest.fixture(scope="session")
def postgres(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    """A PostgreSQL server that tests share; each takes a schema of its own."""
    with running(free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_libraries() -> Path:
    """The jars of Apache Kafka."""
    return fetched()


@pytest.fixture(scope="session")
def trained_flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the training of the flights example writes; nobody may write to it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def train(folder: Path) -> None:
        example = importlib.import_module("train")  # heavy, and few test processes need it
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(example, "BUILD", folder)
            example.main()

    return made_once(shared / "trained-flights", train)


_DATABASES = ["sqlite", "postgres"]


@pytest.fixture(params=_DATABASES if NIGHTLY else _DATABASES[:1])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a monitor's database is: SQLite, and in a nightly run PostgreSQL, too."""
    return _database(request, tmp_path)


@pytest.fixture(params=_DATABASES)
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a database is, each kind in turn: for the contract of what is stored."""
    return _database(request, tmp_path)


def _database(request: pytest.FixtureRequest, folder: Path) -> Path | str:
    if request.param == "sqlite":
        return folder / "monitor.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.schema()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run report what its files cost."""
    parser.addoption(
        "--cpu-seconds",
        type=int,
        metavar="N",
        help="report the CPU seconds of the N dearest test files and of the processes they start",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Trace the tests that add to coverage, where it is measured, and count CPU seconds."""
    if lines := config.getoption("--cpu-seconds"):
        config.pluginmanager.register(CpuSeconds(lines))
    coverage = Coverage.current()
    if coverage and not os.environ.get("DRIFTLINE_TRACE_ALL"):
        config.pluginmanager.register(TracedCases(coverage))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import the tests without a collector of garbage, and spare it what the imports made.

    Nothing of it is ever freed, and each full collection would look at all of it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the folders that take longest, and leave the long studies to `make nightly`."""
    items.sort(key=lambda item: not _LONG_FOLDERS.intersection(item.path.parts))
    if NIGHTLY:
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


SKIPPED = 10  # exit status of a run that skipped tests where every test must run
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything must run, a skipped test is a failure."""
    if _skipped and os.environ.get("DRIFTLINE_SKIPS_FAIL"):
        print("\nskipped, where every test must run:", *_skipped, sep="\n  ")
        session.exitstatus = SKIPPED
