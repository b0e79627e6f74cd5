"""Record learned baselines in the registry's history, if the monitor may write there."""

import logging
from collections.abc import Callable
from typing import Protocol

from registry.baselines import BaselineRecord
from registry.errors import RegistryError
from registry.manifest import Version

_logger = logging.getLogger(__name__)


class BaselineHistory(Protocol):
    """Port that records baselines; the registry implements it."""

    def record_baseline(self, version: Version, record: BaselineRecord, *, actor: str = "") -> int:
        """Record a baseline, unless it is recorded already."""
        ...


def recorder(history: BaselineHistory) -> Callable[[Version, BaselineRecord], None]:
    """Return a function that records a learned baseline and logs a failure.

    A failure does no harm, because the monitor's database has the baseline too. The monitor tries
    to record it again when it starts.
    """

    def record(version: Version, baseline: BaselineRecord) -> None:
        try:
            history.record_baseline(version, baseline, actor="monitor")
        except RegistryError as error:
            name = f"{version.model} version {version.number}"
            _logger.warning("%s: its baseline cannot be recorded in the registry: %s", name, error)

    return record
