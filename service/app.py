"""The BentoML service `service.app:Driftline`: it starts and stops a worker's objects."""

import sys
from typing import Any

import bentoml
import uvicorn.config
from pydantic import BaseModel, Field
from starlette.responses import Response
from uvicorn.config import HTTP_PROTOCOLS

from eventlog.parent_death import end_with_parent
from eventlog.settings import Home, from_environment
from service.auth.configuration import check_encrypted, create_browser_guard, tls_of
from service.auth.rules import PROBES
from service.crashes.worker_starts import report_failed_start, report_start
from service.dependency_versions import check_versions
from service.rest.admin_port import with_admin_port
from service.rest.api_page import ApiPage
from service.rest.asgi import App
from service.rest.body_middleware import BodyMiddleware
from service.rest.connection import Connection
from service.rest.dependencies import InferenceDependencies
from service.rest.predict import PredictMiddleware
from service.rest.routes import create_app
from service.settings import connection_limits, read_settings
from service.telemetry.metrics import count_refused
from service.worker import Worker
from telemetry import logs

_CLOSE_LOG_S = 5.0  # seconds for closing the log, after the grace period for requests

_settings = read_settings()


def _worker() -> Worker:
    """Return the objects that BentoML's startup hook created in this process."""
    worker: Worker = bentoml.get_current_service().worker
    return worker


class ServiceConnection(Connection.bounded(connection_limits(_settings), PROBES)):  # type: ignore[misc]
    """The HTTP connections of a worker."""

    def dependencies(self) -> InferenceDependencies:
        """Return the worker's objects that inference needs."""
        return _worker().inference


class FrontedService(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML ships no types
    """A BentoML service with our middleware and HTTP connections."""

    def to_asgi(self, is_main: bool = True) -> App:  # noqa: FBT001, FBT002  # BentoML's signature
        """Return the worker's application; configure its connections and logging."""
        end_with_parent(grace=_settings.shutdown_grace_s + _CLOSE_LOG_S)
        check_versions()
        check_encrypted(_settings, sys.argv)
        logs.configure("service", from_environment(logs.LoggingSettings, logs.PREFIX))
        HTTP_PROTOCOLS["auto"] = f"{__name__}:{ServiceConnection.__name__}"
        if (tls := tls_of(_settings)) is not None:  # uvicorn's context would not reload the files
            uvicorn.config.create_ssl_context = lambda **_: tls.context()
        front = BodyMiddleware(
            ApiPage(super().to_asgi(is_main)),
            _settings.max_body_bytes,
            lambda: _worker().inference.buffered,
        )
        predictions = PredictMiddleware(front, lambda: _worker().inference)
        guard = create_browser_guard(_settings, count_refused)
        return with_admin_port(predictions, lambda: _worker().authorizer, guard, _settings)


class RowPrediction(BaseModel):
    """The prediction for one row."""

    label: str | int | float | bool | None
    probabilities: dict[str, float] = Field(description="By class; empty for a regression.")


class PredictReply(BaseModel):
    """The reply of `/predict`."""

    model: str
    version: str
    prediction_id: str = Field(description="Id for feedback; rows are numbered from 0.")
    predictions: list[RowPrediction]


@bentoml.service(
    name="driftline",
    service_class=FrontedService,
    workers=_settings.workers,
    traffic={"timeout": _settings.request_timeout_s},
    http={"host": _settings.host, "port": _settings.port},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(create_app(lambda: _worker().routes))
class Driftline:
    """Serve registered models over REST and gRPC; log every response before it is sent."""

    @bentoml.on_startup
    async def start(self) -> None:
        """Load the models and listen for gRPC before the worker accepts its first request."""
        home = Home.from_environment()
        try:
            self.worker = Worker(_settings, home)
            await self.worker.start()
        except BaseException as error:
            report_failed_start(home.exits, error)
            raise
        report_start(home.exits)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Answer accepted requests and close the log."""
        await self.worker.stop()

    @bentoml.api(route="/predict", output_spec=PredictReply)
    async def predict(
        self,
        model: str,
        rows: list[dict[str, Any]],
        version: str = "",
        event_time: str | int | None = None,
        request_id: str = "",
    ) -> Response:
        """Predict for rows of named features.

        `version` is a number or an alias; by default, the champion. `event_time` is the time at
        which the prediction takes place, in RFC 3339 or integer microseconds; by default, now.
        `request_id` is the caller's own id, unique per model; feedback can refer to it.
        """
        raise NotImplementedError  # declared for BentoML's docs and client; see PredictMiddleware
