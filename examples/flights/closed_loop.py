"""What a training pipeline does with a retraining request: train, register, gate, roll out.

The replay stands still while a model is trained and gated, since the year passes in minutes here.
The rollout runs on the replayed flights, and the monitor decides about it.
"""

import calendar
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import data
import numpy as np
import onnxruntime
import pandas as pd
import train
import yaml
from sklearn.metrics import roc_auc_score

from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.errors import RegistryError
from registry.gates.policy import GateFile, set_gates
from registry.history.rows import VerdictPolicy
from registry.rollouts import Rollouts
from registry.settings import open_history
from registry.store import Registry

HERE = Path(__file__).parent
WEEK = 7 * 86_400 * 1_000_000  # microseconds
TRAINED_ON, HELD_OUT = 26 * WEEK, 3 * WEEK  # the latest rows; the last of them become the reference
FEWEST = 5_000  # training rows
STEPS = [0.5, 1.0]
GATES: dict[str, Any] = {
    "finite": {"kind": "finite"},
    "not-worse": {"kind": "metric", "metric": "roc_auc", "worse_by": 0.02},
}
# A quarter of all flights is late: only a large share of many flights shows that a model is as
# good. The patience is in bake times, and a bake time here is seconds.
POLICY = VerdictPolicy(patience=200.0)
BAKE_S = 2.0


class ClosedLoop:
    """Belongs to one thread, except `requested`."""

    def __init__(
        self, home: Home, model: str, flights: pd.DataFrame, say: Callable[[str], None]
    ) -> None:
        """`flights` are those with an outcome, as `train.arrived` returns them."""
        self._home = home
        self._model = model
        self._say = say
        self._flights = flights
        self._history = open_history(home)
        self._requests: Queue[dict[str, Any]] = Queue()
        set_gates(
            self._history,
            model,
            GateFile(gates=GATES),
            actor="make run",
            why="a retrained model ranks flights as well as the champion",
        )

    def requested(self, request: dict[str, Any]) -> None:
        """Take a request, from any thread."""
        self._requests.put(request)

    @property
    def idle(self) -> bool:
        """Whether no request waits, or a rollout is under way."""
        return self._requests.empty() or self._rolling_out()

    def retrain(self) -> None:
        """Answer the requests that wait with one version; say how far it came."""
        while not self._requests.empty():
            request = self._requests.get()
        until = request["data"]["window"]["end"]
        number = self._register(until, request["id"])
        if number and self._gate(number, request["id"]):
            Rollouts(self._history).start(
                self._model,
                number,
                "champion",
                STEPS,
                bake_s=BAKE_S,
                actor="make run",
                why=f"retrained for request {request['id'][:12]}",
                policy=POLICY,
                evidence=request["id"],
            )
            self._say(
                f"Version {number} answers {STEPS[0]:.0%} of the flights; the monitor judges."
            )

    def _register(self, until: int, request: str) -> str:
        """Train on what was known at a time; return the number of the version, "" without one."""
        known = self._flights[self._flights["known_at"] <= until]
        recent = known[known["event_time"] > until - TRAINED_ON]
        held_out = recent["event_time"] > until - HELD_OUT
        training, reference = recent[~held_out], recent[held_out]
        if len(training) < FEWEST:
            return ""
        folder = train.BUILD / "retrained"
        folder.mkdir(parents=True, exist_ok=True)
        model = train.fit(training)
        (folder / "model.onnx").write_bytes(train.export(model))
        reference[[*data.FEATURES, data.TARGET]].to_parquet(
            folder / "reference.parquet", index=False
        )
        (folder / "manifest.yaml").write_text(_manifest())
        version = Registry(self._home).register(
            folder / "model.onnx",
            model=self._model,
            manifest=folder / "manifest.yaml",
            reference=folder / "reference.parquet",
            answers=request,
        )
        rows = f"{len(training):,} flights, {len(reference):,} held out"
        self._say(f"Version {version.number} is trained on {rows}, and registered.")
        return version.number

    def _gate(self, number: str, request: str) -> bool:
        """Run the gates as a pipeline does; return whether they passed."""
        command = [sys.executable, "-P", "-m", "driftline", "gate", self._model]
        command += ["--version", number, "--why", f"answers request {request[:12]}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode == 0:
            self._say(f"Version {number} passed its gates.")
            return True
        self._say(f"Version {number} did not pass its gates:\n{done.stdout}{done.stderr}")
        return False

    def _rolling_out(self) -> bool:
        try:
            found = self._history.state(self._model).rollouts.get("champion")
        except RegistryError:
            return True
        return found is not None and found.active

    def outcomes(self) -> list[str]:
        """Return a line for every rollout that ended."""
        rows = self._history.state(self._model).verdicts
        return [f"Version {row.number}: {row.why}" for row in rows]

    def months(self) -> list["Month"]:
        """Compare the first version with what answered, month by month."""
        return compare(self._home, self._model, self._flights)


class Month(NamedTuple):
    """The flights of one month: as the first version ranks them, and as they were answered."""

    name: str
    versions: str  # that answered
    frozen_auc: float
    answered_auc: float
    frozen_cost: float  # a flight: 5 for a late one not announced, 1 for a wrong announcement
    answered_cost: float


def compare(home: Home, model: str, flights: pd.DataFrame) -> list[Month]:
    """Compare the first version with what answered, on all labelled flights of each month."""
    answers = _answers(home, model)
    version = Registry(home).version(model, "1")
    frozen = flights.assign(frozen=scores_of(Path(version.path), flights))
    months = []
    for number, name in enumerate(calendar.month_name[1:], 1):
        month, served = frozen[frozen["month"] == number], answers[answers["month"] == number]
        if len(served) == 0:
            continue
        months.append(
            Month(
                name,
                ", ".join(sorted(set(served["version"]), key=int)),
                roc_auc_score(month[data.TARGET], month["frozen"]),
                roc_auc_score(served["late"], served["score"]),
                _cost(month[data.TARGET], month["frozen"]),
                _cost(served["late"], served["score"]),
            )
        )
    return months


def _answers(home: Home, model: str) -> pd.DataFrame:
    """Every answered and labelled flight in the log."""
    reader = SegmentReader(home.log, {})
    asked: dict[str, tuple[int, str, float]] = {}
    rows = []
    while records := reader.poll(10_000):
        for event in (record.event for record in records):
            if (
                isinstance(event, PredictionEvent)
                and event.model == model
                and event.outcome == "ok"
            ):
                score = event.outputs["probabilities"].data[1]
                asked[event.prediction_id] = event.time, event.version, score
            elif isinstance(event, FeedbackEvent) and event.prediction_id in asked:
                rows.append((*asked.pop(event.prediction_id), int(event.label)))
    reader.close()
    frame = pd.DataFrame(rows, columns=["time", "version", "score", "late"])
    local = pd.to_datetime(frame["time"], unit="us", utc=True).dt.tz_convert(data.NEW_YORK)
    return frame.assign(month=local.dt.month)


def scores_of(folder: Path, flights: pd.DataFrame) -> "np.ndarray[Any, Any]":
    """Return the probability of every flight to be late, by the version in a folder."""
    model = folder / "model.onnx"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    frame = train.model_inputs(flights)
    feed = {name: frame[[name]].to_numpy() for name in data.FEATURES}
    (answers,) = session.run(["probabilities"], feed)
    return np.asarray(answers)[:, 1]


def _cost(late: "pd.Series[int]", score: "pd.Series[float]") -> float:
    announced = score > 1 / 6  # where both mistakes cost the same
    return float((5 * ((late == 1) & ~announced) + ((late == 0) & announced)).mean())


def _manifest() -> str:
    """The manifest of the first version; a retrained one states its own training."""
    manifest = yaml.safe_load((HERE / "manifest.yaml").read_text())
    manifest["lineage"]["training"] = "examples/flights/closed_loop.py"
    text: str = yaml.safe_dump(manifest)
    return text
