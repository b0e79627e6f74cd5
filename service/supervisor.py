"""Run the service by BentoML's server, with this process as the supervisor of the workers."""

import asyncio
import errno
import os
import signal
import ssl
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _bentoml_impl.server import serve_http
from bentoml._internal.log import SERVER_LOGGING_CONFIG
from bentoml._internal.utils import circus
from circus.exc import ConflictError

from access.tls import CIPHERS, Tls
from eventlog.errors import SettingError
from eventlog.parent_death import PARENT
from eventlog.settings import Home, from_environment
from registry.store import store_folder
from service import forked_workers
from service.auth.configuration import tls_of
from service.crashes.worker_exits import clear_exits, write_exit
from service.crashes.worker_starts import MOST_FAILURES, WorkerStarts
from service.dependency_versions import check_versions
from service.errors import NoWorker
from service.fork_server import ForkServer, descriptors
from service.settings import PREFIX, Settings
from telemetry import logs

_RESPAWN_S = 1.0  # seconds between checks for dead workers
_CONFLICT_S = 0.05  # seconds between attempts to stop the arbiter
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_create_arbiter = circus.create_standalone_arbiter
TARGET = "service.app:Driftline"
_NOT_BOUND = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; answer accepted requests before returning."""
    check_versions()
    # The variables get absolute paths, because workers have another current folder.
    os.environ["DRIFTLINE_HOME"] = str(Home.from_environment().root)
    os.environ["BENTOML_HOME"] = str(store_folder(Home.from_environment()).parent)
    os.environ[PARENT] = str(os.getpid())  # so that workers end with this process
    tls = tls_of(settings)
    if tls is not None:
        os.environ |= {f"{PREFIX}TLS_{name}": path for name, path in tls.variables().items()}
    # This formatter applies to the log lines of BentoML's supervisor.
    SERVER_LOGGING_CONFIG["formatters"]["traced"] = logs.for_dictionary(
        "service", from_environment(logs.LoggingSettings, logs.PREFIX)
    )
    # Forked workers already have loggers when BentoML configures logging.
    SERVER_LOGGING_CONFIG["disable_existing_loggers"] = False
    service = _import_service(fork=settings.fork_workers)
    failures: list[str] = []
    circus.create_standalone_arbiter = partial(_arbiter, failures)
    service.inject_config()
    try:
        serve_http(
            TARGET,
            working_dir=str(Path(__file__).parents[1]),
            host=settings.host,
            port=settings.port,
            timeout_graceful_shutdown=settings.shutdown_grace_s,
            **_ssl_options(tls),
        )
    except OSError as error:
        if error.errno not in _NOT_BOUND:
            raise
        raise SettingError(  # another process has taken the port since it was checked
            f"port {settings.port} on {settings.host}: {error.strerror}"
        ) from None
    if failures:
        raise NoWorker(f"no worker could start in {MOST_FAILURES} attempts: {failures[0]}")


def _import_service(*, fork: bool) -> Any:
    """Import the service, which reads the settings; if `fork`, start the fork server.

    The import creates metric files in a temporary folder, which is deleted. Each worker creates its
    own metric files in the folder that BentoML sets later.
    """
    before = descriptors()
    with TemporaryDirectory(prefix="driftline-") as folder:
        os.environ[_METRICS] = folder
        from service.app import Driftline  # noqa: PLC0415

        del os.environ[_METRICS]
        server = ForkServer.start(before) if fork else None
    if server is not None:
        forked_workers.install(server)
    return Driftline


def _arbiter(failures: list[str], watchers: list[Any], **options: Any) -> Any:
    """Create BentoML's arbiter, changed so that it replaces a dead worker within a second.

    By default, it checks the workers every ten seconds, because a check during another command
    raises ConflictError; here this error is ignored. It checks after a worker's end and once per
    second, but not twice within a second, so that a worker that cannot start is restarted with a
    pause.

    It also writes how each worker ended, for the next worker. If no worker can start, it stops, and
    `failures` contains the reason.
    """
    exits = Home.from_environment().exits
    clear_exits(exits)
    starts = WorkerStarts(exits)

    def record_exit(process_pid: int, exit_code: int, **_: Any) -> bool:
        write_exit(exits, process_pid, exit_code)
        if not failures and (reason := starts.record_exit(process_pid, exit_code)):
            failures.append(reason)
            arbiter.loop.add_callback(stop)
        return True

    async def stop() -> None:
        while True:
            with suppress(ConflictError):  # a check of the workers is running
                await arbiter.stop()
                return
            await asyncio.sleep(_CONFLICT_S)

    for watcher in watchers:
        watcher.hooks["after_reap"] = record_exit
        watcher.ignore_hook_failure.append("after_reap")
    arbiter: Any = _create_arbiter(watchers, check_delay=_RESPAWN_S, **options)
    manage = arbiter.manage_watchers
    earliest = 0.0

    async def manage_if_idle() -> None:
        nonlocal earliest
        earliest = time.monotonic() + _RESPAWN_S
        with suppress(ConflictError):
            await manage()

    def child_ended(*_: object) -> None:
        if time.monotonic() >= earliest:
            arbiter.loop.add_callback_from_signal(manage_if_idle)

    arbiter.manage_watchers = manage_if_idle
    signal.signal(signal.SIGCHLD, child_ended)
    return arbiter


def _ssl_options(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl_certfile": tls.certificate,
        "ssl_keyfile": tls.key,
        "ssl_ca_certs": tls.client_ca or None,
        "ssl_cert_reqs": int(ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE),
        "ssl_ciphers": CIPHERS,
    }
