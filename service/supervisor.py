"""Run BentoML's server on the service, in this process tree."""

import errno
import os
import ssl
from contextlib import suppress
from pathlib import Path
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
from service.auth.configuration import tls_of
from service.crashes.worker_exits import clear_exits, write_exit
from service.dependency_versions import check_versions
from service.settings import PREFIX, Settings
from telemetry import logs

_RESPAWN_S = 1.0  # between two looks for dead workers
_create_arbiter = circus.create_standalone_arbiter
TARGET = "service.app:Driftline"
_NOT_BOUND = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; accepted requests are answered before this returns."""
    check_versions()
    from service.app import Driftline  # noqa: PLC0415  # reads the settings as it is imported

    # Workers stand in the folder that holds the packages: relative paths would mean others there.
    os.environ["DRIFTLINE_HOME"] = str(Home.from_environment().root)
    os.environ["BENTOML_HOME"] = str(store_folder(Home.from_environment()).parent)
    os.environ[PARENT] = str(os.getpid())  # workers end with this process
    tls = tls_of(settings)
    if tls is not None:
        os.environ |= {f"{PREFIX}TLS_{name}": path for name, path in tls.variables().items()}
    # The supervising process has no place of ours to configure its lines in.
    SERVER_LOGGING_CONFIG["formatters"]["traced"] = logs.for_dictionary(
        "service", from_environment(logs.LoggingSettings, logs.PREFIX)
    )
    circus.create_standalone_arbiter = _arbiter
    Driftline.inject_config()  # type: ignore[attr-defined]  # decorated: it is a BentoML service
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
        raise SettingError(  # the port was taken after it had been found free
            f"port {settings.port} on {settings.host}: {error.strerror}"
        ) from None


def _arbiter(watchers: list[Any], **options: Any) -> Any:
    """Create BentoML's arbiter, which then notices a dead worker within a second, not within ten.

    It also notes how each worker ended, for the worker that follows.

    BentoML looks rarely because a look while another command runs raises ConflictError.
    """
    exits = Home.from_environment().exits
    clear_exits(exits)

    def note_exit(process_pid: int, exit_code: int, **_: Any) -> bool:
        write_exit(exits, process_pid, exit_code)
        return True

    for watcher in watchers:
        watcher.hooks["after_reap"] = note_exit
        watcher.ignore_hook_failure.append("after_reap")
    arbiter = _create_arbiter(watchers, check_delay=_RESPAWN_S, **options)
    manage = arbiter.manage_watchers

    async def manage_if_idle() -> None:
        with suppress(ConflictError):
            await manage()

    arbiter.manage_watchers = manage_if_idle
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
