"""Everything that is known about one prediction, by the place that it was read from."""

from typing import Any

import msgspec

from eventlog.events import FeedbackEvent, Label, PredictionEvent
from monitoring.results import Alarm, Verdict, Window
from registry.history.provenance import Provenance


class VersionLineage(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a version, by its stored files and its registration."""

    lineage: dict[str, str] = {}  # lineage of the manifest
    task: str = ""
    target: str = ""
    trained_by: str = ""
    files: dict[str, str] = {}  # SHA-256 by name, such as reference.parquet


class MonitoredRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the request in the monitor's database."""

    row: int
    time: int | None  # event time
    late: bool  # whether it came late, so that no window holds it
    predicted: Any = None
    label: Label | None = None  # joined


class TracedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window that holds the prediction."""

    window: Window
    closed: bool
    verdict: Verdict | None = None
    revision: int = 0  # revision of its result
    rows: int = 0
    labelled: int = 0
    report: str = ""  # file name of the HTML report


class MonitorTrace(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor's records of a prediction."""

    model: str
    version: str
    rows: list[MonitoredRow] = []
    windows: list[TracedWindow] = []  # newest first
    alarms: list[Alarm] = []  # open during one of the windows


class PredictionTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction, from its version's origin to the alarms that it was a part of."""

    prediction_id: str
    event: PredictionEvent | None = None  # without its tensors
    repeated: list[str] = []  # ids of other events of the same prediction id
    labels: list[FeedbackEvent] = []
    registry: Provenance | None = None
    answered_at: int = 0  # time of the registry's revision that answered; 0: unknown
    lineage: VersionLineage | None = None
    gate_page: str = ""  # file of the gate report's page
    monitor: MonitorTrace | None = None
    not_found: dict[str, str] = {}  # part -> what was searched

    @property
    def found(self) -> bool:
        """Whether the prediction itself was found."""
        return self.event is not None or self.monitor is not None or bool(self.labels)
