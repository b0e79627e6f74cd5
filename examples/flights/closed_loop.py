"""The training pipeline that answers a retraining request: train, register, gate, roll out.

The replay stands still while a model is trained and gated, since the year passes in minutes here.
The rollout runs on the replayed flights, and the monitor decides about it.
"""

import calendar
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import data
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import train
import yaml
from sklearn.metrics import roc_auc_score
from training_data import WEEK, WEIGHT, UnfitRows, complete, read_offered

from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.errors import RegistryError
from registry.gates.policy import GateFile, set_gates
from registry.history.rows import RolloutVerdict, VerdictPolicy
from registry.history.state import LifecycleState
from registry.rollouts import Rollouts
from registry.settings import open_history
from registry.store import Registry

HERE = Path(__file__).parent
TRAINED_ON, HELD_OUT = 26 * WEEK, 3 * WEEK  # the latest rows; the last of them become the reference
FEWEST = 5_000  # training rows
STEPS = [0.5, 1.0]
GATES: dict[str, Any] = {
    "finite": {"kind": "finite"},
    # The logged flights of the three weeks that no candidate is trained on, with their labels.
    "production": {
        "kind": "replay", "days": 21, "max_rows": 10_000,
        "metric": "roc_auc", "worse_by": 0.02, "min_rows": 1_000,
    },
}  # fmt: skip
# Latency is not judged: the replay keeps the machine busy, so it says nothing about a version. A
# quarter of all flights is late: only many flights show that a model is as good. The patience is
# in bake times, and a bake time here is seconds, in which weeks are replayed.
POLICY = VerdictPolicy(metrics=["errors", "outputs", "labels"], patience=20.0, expire=2.0)
BAKE_S = 2.0
_READ_EVERY_S = 0.5


class ClosedLoop:
    """Belongs to one thread at a time, except `requested`."""

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
        self._read, self._latest = 0.0, LifecycleState()  # of the registry
        self._reported = 0  # verdicts
        self._spoilt = False  # whether the version with a mistake was rolled out
        set_gates(
            self._history,
            model,
            GateFile(gates=GATES),
            actor="make run",
            why="a retrained model ranks the latest flights as well as the champion",
        )

    def requested(self, request: dict[str, Any]) -> None:
        """Take a request, from any thread."""
        self._requests.put(request)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to roll out, or a rollout is under way."""
        spoilt = self._spoilt or self._verdicts == 0
        return (self._requests.empty() and spoilt) or self._rolling_out()

    def roll_out(self) -> None:
        """Roll out the version with a mistake after the first good one, else answer requests."""
        if self._verdicts and not self._spoilt:
            self._spoilt = True
            self._roll_out_a_mistake()
        elif not self._requests.empty():
            self._retrain()

    def _roll_out_a_mistake(self) -> None:
        """Register the latest version with a wrong threshold, which its gates do not see."""
        folder = train.BUILD / "retrained"
        onnx.save(predict_late_too_often(onnx.load(folder / "model.onnx")), folder / "model.onnx")
        version = self._add(folder)
        self._say(
            f"Version {version} is the latest one with a mistake that was made on purpose: it "
            "announces a delay from a probability of 0.1 on. Its ROC AUC is as good."
        )
        if self._gate(version, "a mistake on purpose"):
            self._start(version, "a mistake on purpose")

    def _retrain(self) -> None:
        """Answer the requests that wait with one version; say how far it came."""
        while not self._requests.empty():
            request = self._requests.get()
        try:
            offered = read_offered(request)
        except UnfitRows as error:
            self._say(f"The rows of request {request['id'][:12]} are not fit to train on: {error}")
            return
        number = self._register(request["data"]["window"]["end"], offered, request["id"])
        if number and self._gate(number, f"answers request {request['id'][:12]}"):
            self._start(number, f"retrained for request {request['id'][:12]}", request["id"])

    def _start(self, number: str, why: str, evidence: str = "") -> None:
        Rollouts(self._history).start(
            self._model,
            number,
            "champion",
            STEPS,
            bake_s=BAKE_S,
            actor="make run",
            why=why,
            policy=POLICY,
            evidence=evidence,
        )
        self._read = 0.0
        self._say(f"Version {number} answers {STEPS[0]:.0%} of the flights; the monitor judges.")

    def _register(self, until: int, offered: pd.DataFrame | None, request: str) -> str:
        """Train on the offered rows and on what was known at a time.

        Returns the number of the version, "" without one.
        """
        rows = complete(offered, self._flights[self._flights["known_at"] <= until])
        recent = rows[rows["event_time"] > until - TRAINED_ON]
        held_out = recent["event_time"] > until - HELD_OUT
        training, reference = recent[~held_out], recent[held_out]
        if len(training) < FEWEST:
            return ""
        folder = train.BUILD / "retrained"
        folder.mkdir(parents=True, exist_ok=True)
        model = train.fit(training, training[WEIGHT])
        (folder / "model.onnx").write_bytes(train.export(model))
        reference[[*data.FEATURES, data.TARGET]].to_parquet(
            folder / "reference.parquet", index=False
        )
        (folder / "manifest.yaml").write_text(_manifest())
        number = self._add(folder, answers=request)
        sizes = f"{len(training):,} flights, {len(reference):,} held out"
        exported = 0 if offered is None else len(offered)
        self._say(
            f"Version {number} is trained on {sizes}, {exported:,} of them exported by the "
            "monitor, and registered."
        )
        return number

    def _add(self, folder: Path, answers: str = "") -> str:
        version = Registry(self._home).register(
            folder / "model.onnx",
            model=self._model,
            manifest=folder / "manifest.yaml",
            reference=folder / "reference.parquet",
            answers=answers,
            actor="make run",
        )
        return version.number

    def _gate(self, number: str, why: str) -> bool:
        """Run the gates as a pipeline does; return whether they passed."""
        command = [sys.executable, "-P", "-m", "driftline", "gate", self._model]
        command += ["--version", number, "--why", why]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode == 0:
            self._say(f"Version {number} passed its gates.")
            return True
        self._say(f"Version {number} did not pass its gates:\n{done.stdout}{done.stderr}")
        return False

    def _rolling_out(self) -> bool:
        rollout = self._state.rollouts.get("champion")
        return rollout is not None and rollout.active

    @property
    def _state(self) -> LifecycleState:
        """Return the state of the registry as of half a second ago: many hours pass in one."""
        if time.monotonic() - self._read > _READ_EVERY_S:
            with suppress(RegistryError):  # it is locked: asked again an hour later
                self._latest = self._history.state(self._model)
                self._read = time.monotonic()
        return self._latest

    @property
    def _verdicts(self) -> int:
        return len(self._state.verdicts)

    def report_verdicts(self) -> None:
        """Say what the monitor has decided since the last call."""
        rows = self._state.verdicts
        for row in rows[self._reported :]:
            verdict = row.decode(RolloutVerdict).verdict
            self._say(f"[bold]{HEADINGS[verdict].format(row.number)}[/bold]: {row.why}.")
        self._reported = len(rows)

    def months(self) -> list["Month"]:
        """Compare the first version with what answered, month by month."""
        return compare(self._home, self._model, self._flights)


HEADINGS = {
    "promote": "The monitor promotes version {}",
    "roll back": "The monitor rolls version {} back and bars it",
    "pause": "The monitor pauses the rollout of version {}",
    "expire": "The rollout of version {} ends without a result",
}


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


def summary(months: Sequence[Month]) -> str:
    """Return in which months the loop is better than the first version, and in which it is not."""
    sentences = []
    for what, of in (
        ("ROC AUC", [(m.name, m.answered_auc, m.frozen_auc) for m in months]),
        ("cost", [(m.name, -m.answered_cost, -m.frozen_cost) for m in months]),
    ):
        gains = [(name, round(ours, 3) - round(frozen, 3)) for name, ours, frozen in of]
        won, lost, tied = (
            [name for name, gain in gains if np.sign(round(gain, 3)) == which]
            for which in (1, -1, 0)
        )
        sentence = f"By {what} the loop wins {len(won)} of {len(months)} months"
        sentence += f", ties {', '.join(tied)}" if tied else ""
        sentences.append(sentence + (f" and loses {', '.join(lost)}." if lost else "."))
    return " ".join(sentences)


def _answers(home: Home, model: str) -> pd.DataFrame:
    """Return every answered and labelled flight in the log."""
    reader = SegmentReader(home.log, {})
    requests: dict[str, tuple[int, str, float]] = {}
    rows = []
    while records := reader.poll(10_000):
        for event in (record.event for record in records):
            if (
                isinstance(event, PredictionEvent)
                and event.model == model
                and event.outcome == "ok"
            ):
                score = event.outputs["probabilities"].data[1]
                requests[event.prediction_id] = event.time, event.version, score
            elif isinstance(event, FeedbackEvent) and event.prediction_id in requests:
                rows.append((*requests.pop(event.prediction_id), int(event.label)))
    reader.close()
    frame = pd.DataFrame(rows, columns=["time", "version", "score", "late"])
    local = pd.to_datetime(frame["time"], unit="us", utc=True).dt.tz_convert(data.NEW_YORK)
    return frame.assign(month=local.dt.month)


def predict_late_too_often(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the label of a threshold of 0.1, its probabilities unchanged."""
    (choice,) = (node for node in model.graph.node if node.op_type == "ArgMax")
    weights = np.array([[1, 9]], np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "mistake"))
    product = onnx.helper.make_node("Mul", [choice.input[0], "mistake"], ["weighted"])
    model.graph.node.insert(list(model.graph.node).index(choice), product)
    choice.input[0] = "weighted"
    return model


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
    """Return the manifest of the first version; a retrained one states its own training."""
    manifest = yaml.safe_load((HERE / "manifest.yaml").read_text())
    manifest["lineage"]["training"] = "examples/flights/closed_loop.py"
    text: str = yaml.safe_dump(manifest)
    return text
