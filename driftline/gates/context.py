"""The inputs of a gate: versions, log, a folder for files, and a callback for progress."""

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
    """A gate or comparison has too little data; the message states what is missing."""


class GateFailed(Exception):
    """A version fails a gate; the message states the reason."""


class GateJob(msgspec.Struct, frozen=True):
    """The gates that one process runs, one after another, and their inputs."""

    candidate: Version
    champion: Version | None
    manifests: dict[str, Manifest]  # manifests of every version of the model, by number
    log: str  # folder of the local event log
    folder: str  # folder for files of the run, which the parent process deletes
    gates: dict[str, Any]  # specification of each gate, by name
    kafka: KafkaSettings | None = None  # if set, the event log is read from Kafka, not from `log`


class GateMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line from the process that runs gates: a progress text ("ready" first) or an outcome."""

    progress: str = ""
    outcome: GateOutcome | None = None


class GateContext(msgspec.Struct, frozen=True):
    """The inputs of a gate's check."""

    candidate: Version
    champion: Version | None
    folder: Path
    progress: Callable[[str], None]
    log: LogPlace = Path()
    manifests: Mapping[str, Manifest] = {}  # manifests of every version of the model, by number

    @property
    def versions(self) -> Mapping[str, Version]:
        """The versions by role: "candidate" and, if there is one, "champion"."""
        by_side = {"candidate": self.candidate, "champion": self.champion}
        return {name: version for name, version in by_side.items() if version is not None}
