"""Record learned baselines in the registry's history, where the monitor may write it."""

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
    """Return the port that records learned baselines.

    The monitor's database holds it as well, so a registry that only reads loses nothing but the
    row. A monitor repeats the record when it starts.
    """

    def record(version: Version, learned: BaselineRecord) -> None:
        try:
            history.record_baseline(version, learned, actor="monitor")
        except RegistryError as error:
            name = f"{version.model} version {version.number}"
            _logger.warning("%s: its baseline is not in the registry's history: %s", name, error)

    return record
