"""The inputs of a gate: the versions, a folder for its files, and a receiver of its progress."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from driftline.logged_events import LogPlace
from eventlog.kafka_settings import KafkaSettings
from registry.gates.outcomes import GateOutcome
from registry.manifest import Manifest, Version

NO_CHAMPION_NOTE = "no champion to compare with"


class NotEnoughData(Exception):
    """A gate cannot be judged; the message says what is missing."""


class GateFailed(Exception):
    """A version cannot pass a gate; the message says why."""


class GateJob(msgspec.Struct, frozen=True):
    """Gates to run one after another."""

    candidate: Version
    champion: Version | None
    manifests: dict[str, Manifest]  # manifests of every version of the model, by number
    log: str  # folder of the event log, if it is in segments
    folder: str  # folder for files of the run; the runner removes it
    gates: dict[str, Any]  # keyed by name, as they were stated
    kafka: KafkaSettings | None = None  # instead of the folder


class GateMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the process that runs gates: it is ready, progresses, or has an outcome."""

    progress: str = ""
    outcome: GateOutcome | None = None


class GateContext(msgspec.Struct, frozen=True):
    """The versions that a gate looks at."""

    candidate: Version
    champion: Version | None
    folder: Path
    progress: Callable[[str], None]
    log: LogPlace = Path()
    manifests: Mapping[str, Manifest] = {}  # manifests of every version of the model, by number

    @property
    def versions(self) -> Mapping[str, Version]:
        """The candidate, and the champion if there is one, by what they are called."""
        by_side = {"candidate": self.candidate, "champion": self.champion}
        return {name: version for name, version in by_side.items() if version is not None}
