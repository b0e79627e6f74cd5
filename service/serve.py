"""Runs BentoML's server on the service, with our defaults, in this process tree."""

import os
from pathlib import Path

from _bentoml_impl.server import serve_http

from eventlog.settings import Home
from registry.store import store_folder
from service.settings import Settings

TARGET = "service.bento:Driftline"


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; accepted requests are answered before this returns."""
    from service.bento import Driftline  # noqa: PLC0415  # reads the settings as it is imported

    # Workers stand in the folder that holds the packages: relative paths would mean others there.
    os.environ["DRIFTLINE_HOME"] = str(Home.from_environment().root)
    os.environ["BENTOML_HOME"] = str(store_folder().parent)
    Driftline.inject_config()  # type: ignore[attr-defined]  # decorated: it is a BentoML service
    serve_http(
        TARGET,
        working_dir=str(Path(__file__).parents[1]),
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
