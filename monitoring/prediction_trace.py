"""The parts of a prediction's trace: events, registry, version, monitored rows and windows."""

from typing import Any

import msgspec

from eventlog.events import FeedbackEvent, Label, PredictionEvent
from monitoring.results import Alarm, Verdict, Window
from registry.history.provenance import Provenance


class VersionLineage(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a version: its manifest, its files and its registration."""

    lineage: dict[str, str] = {}  # the manifest's `lineage`
    task: str = ""
    target: str = ""
    trained_by: str = ""
    files: dict[str, str] = {}  # file name: SHA-256


class MonitoredRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the request in the monitor's database."""

    row: int
    time: int | None  # event time
    late: bool  # whether its event was late, so that it is in no window
    predicted: Any = None
    label: Label | None = None  # the joined label


class TracedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window that contains the prediction."""

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
    """A prediction with its version's origin, its labels, its windows and their alarms."""

    prediction_id: str
    event: PredictionEvent | None = None  # without its tensors
    repeated: list[str] = []  # ids of further events with the same prediction id
    labels: list[FeedbackEvent] = []
    registry: Provenance | None = None
    answered_at: int = 0  # time of the registry revision that the service used; 0: unknown
    lineage: VersionLineage | None = None
    gate_page: str = ""  # path of the gate report's HTML page
    monitor: MonitorTrace | None = None
    not_found: dict[str, str] = {}  # missing part: the place that was searched

    @property
    def found(self) -> bool:
        """Whether the prediction itself was found."""
        return self.event is not None or self.monitor is not None or bool(self.labels)
