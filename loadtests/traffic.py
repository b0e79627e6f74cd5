"""Hold the state of a load that its users share."""

import time
from typing import Any

from eventlog.errors import SettingError
from loadtests import shapes
from loadtests.clients import Rest
from loadtests.drift import Drift, read_drift
from loadtests.payloads import Payload, Payloads, choose_version
from registry.store import Registry

SECONDS = 60.0  # default duration of a load
URL = "http://127.0.0.1:3000"


class Traffic:
    """Hold a load's model, requests and elapsed time."""

    def __init__(self, registry: Registry, options: Any) -> None:
        """Prepare the requests; raises DriftlineError if an option does not fit the model."""
        self.url: str = options.host or URL
        self.version = choose_version(registry, options.model, options.model_version)
        self._require_service(options.model_version)
        self.drift: Drift = read_drift(
            options.shift, options.mix, options.blank, self.version.manifest
        )
        self.monitored: bool = options.monitored or bool(self.drift)
        self._payloads = Payloads(
            self.version, self.drift, options.model_version, monitored=self.monitored
        )
        self._shape: shapes.Name = options.shape
        self._seconds = float(options.run_time or SECONDS)
        self.begin()

    def begin(self) -> None:
        """Start the load's clock."""
        self._started = time.perf_counter()

    @property
    def provokes_refusals(self) -> bool:
        """Return whether the service is expected to refuse requests."""
        return self._shape == "overload"

    def payloads(self) -> list[Payload]:
        """Return the requests for the current strength of drift."""
        passed = (time.perf_counter() - self._started) / self._seconds
        return self._payloads.at(shapes.drift_at(self._shape, passed))

    def _require_service(self, version: str) -> None:
        rest = Rest(self.url, self.version.model, version)
        ready = rest.ready()
        rest.close()
        if not ready:
            raise SettingError(
                f"--host: no service is ready at {self.url}; start one with `driftline up`"
            )
