"""What users need to know of the load they are part of."""

import time
from typing import Any

from eventlog.errors import SettingError
from loadtests import shapes
from loadtests.clients import Rest
from loadtests.drift import Drift, read_drift
from loadtests.payloads import Payload, Payloads, choose_version
from registry.store import Registry

SECONDS = 60.0  # of a load for which no duration was stated
URL = "http://127.0.0.1:3000"


class Traffic:
    """One load: its model, its requests, how far it has come."""

    def __init__(self, registry: Registry, options: Any) -> None:
        """Raises DriftlineError where an option does not fit the model."""
        self.url: str = options.host or URL
        self.version = choose_version(registry, options.model, options.model_version)
        self._require_service(options.model_version)
        self.drift: Drift = read_drift(
            options.shift, options.mix, options.blank, self.version.manifest
        )
        self._payloads = Payloads(self.version, self.drift, options.model_version)
        self._shape: shapes.Name = options.shape
        self._seconds = float(options.run_time or SECONDS)
        self.begin()

    def begin(self) -> None:
        """The load starts now."""
        self._started = time.perf_counter()

    @property
    def provokes_refusals(self) -> bool:
        """Whether refusing is what the service is expected to do."""
        return self._shape == "overload"

    def payloads(self) -> list[Payload]:
        """The requests of this moment."""
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
