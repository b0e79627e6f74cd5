"""The state of a load that all its users share."""

import os
import time
from typing import Any

from eventlog.errors import SettingError
from eventlog.settings import Home
from loadtests import shapes
from loadtests.clients import Rest
from loadtests.drift import Drift, read_drift
from loadtests.logged_period import read_period
from loadtests.logged_requests import Requested, read_requests, unchanged_versions
from loadtests.payloads import Payload, Payloads, choose_version
from loadtests.replay import Replay
from registry.store import Registry
from telemetry.clock import now_us

SECONDS = 60.0  # default duration of a load
# Addresses at which `driftline up` serves in the same environment.
URL = f"http://127.0.0.1:{os.environ.get('DRIFTLINE_SERVICE_PORT', '3000')}"
GRPC_HOST = f"127.0.0.1:{os.environ.get('DRIFTLINE_SERVICE_GRPC_PORT', '8001')}"


class Traffic:
    """A load's model, requests and clock."""

    def __init__(self, registry: Registry, options: Any) -> None:
        """Prepare the requests; raises DriftlineError if an option does not fit the model."""
        self.url: str = options.host or URL
        self.version = choose_version(registry, options.model, options.model_version)
        self._require_service(options.model_version)
        self.drift: Drift = read_drift(
            options.shift, options.mix, options.blank, self.version.manifest
        )
        self.monitored: bool = options.monitored or bool(self.drift)
        self._shape: shapes.Name = options.shape
        self.replay = self._read_log(registry, options) if options.from_log else None
        self._payloads = None if self.replay else self._encode(options.model_version)
        self._warm_up: float = options.warm_up
        self._seconds = float(options.run_time or SECONDS)
        self.begin()

    def begin(self) -> None:
        """Start the load's clock."""
        self._started = time.perf_counter()
        if self.replay:
            self.replay.begin()

    @property
    def is_warming_up(self) -> bool:
        """Return whether requests are sent, but not measured yet."""
        return time.perf_counter() < self._started + self._warm_up

    @property
    def provokes_refusals(self) -> bool:
        """Return whether the service is expected to refuse requests."""
        return self._shape == "overload"

    def payloads(self) -> list[Payload]:
        """Return the requests for the current strength of drift."""
        passed = (time.perf_counter() - self._started) / self._seconds
        assert self._payloads is not None
        return self._payloads.at(shapes.drift_at(self._shape, passed))

    def _encode(self, requested_version: str) -> Payloads:
        return Payloads(self.version, self.drift, requested_version, monitored=self.monitored)

    def _read_log(self, registry: Registry, options: Any) -> Replay:
        if self.drift or self._shape != "steady":
            raise SettingError(
                "--from-log: requests are sent as they were logged; omit --shape, --shift, --mix "
                "and --blank"
            )
        period = read_period(options.log_from, options.log_to, options.last, now_us())
        parameters = {} if self.monitored else {"load_test": True}
        logged = read_requests(
            Home.from_environment().log,
            unchanged_versions(registry, self.version.model),
            Requested(self.version, options.model_version, parameters),
            period,
        )
        return Replay(logged, options.speed, options.run_time)

    def _require_service(self, version: str) -> None:
        rest = Rest(self.url, self.version.model, version)
        ready = rest.ready()
        rest.close()
        if not ready:
            raise SettingError(
                f"--host: no service is ready at {self.url}; start one with `driftline up`"
            )
