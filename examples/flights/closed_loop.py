"""The training pipeline that answers a retraining request: train, register, gate, roll out.

The replay waits while a model is trained and gated, because it shortens the year to minutes. The
rollout runs on the replayed flights, and the monitor decides about it.
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
from registry.history.lifecycle import LifecycleState
from registry.history.rows import RolloutVerdict, VerdictPolicy
from registry.rollouts import Rollouts
from registry.settings import open_history
from registry.store import Registry

HERE = Path(__file__).parent
TRAINED_ON, HELD_OUT = (
    26 * WEEK,
    3 * WEEK,
)  # training period, and its last part, which is the reference
FEWEST = 5_000  # minimum number of training rows
STEPS = [0.5, 1.0]
GATES: dict[str, Any] = {
    "finite": {"kind": "finite"},
    # The logged flights of the three weeks that no candidate is trained on, with their labels.
    "production": {
        "kind": "replay", "days": 21, "max_rows": 10_000,
        "metric": "roc_auc", "worse_by": 0.02, "min_rows": 1_000,
    },
}  # fmt: skip
# Latency is not judged, because the replay keeps the machine busy. A quarter of all flights is
# late, so a verdict needs many flights. `patience` is in bake times; weeks are replayed in a bake
# time of 2 seconds.
POLICY = VerdictPolicy(metrics=["errors", "outputs", "labels"], patience=20.0, expire=2.0)
BAKE_S = 2.0
_READ_EVERY_S = 0.5  # seconds between two reads of the registry


class ClosedLoop:
    """Answers retraining requests with rollouts; one thread at a time, except for `requested`."""

    def __init__(
        self, home: Home, model: str, flights: pd.DataFrame, report: Callable[[str], None]
    ) -> None:
        """`flights` are the labelled flights that `train.arrived` returns."""
        self._home = home
        self._model = model
        self._report = report
        self._flights = flights
        self._history = open_history(home)
        self._requests: Queue[dict[str, Any]] = Queue()
        self._read_at, self._latest = 0.0, LifecycleState()  # last read of the registry
        self._reported = 0  # number of reported verdicts
        self._fault_started = False  # whether the faulty version was rolled out
        set_gates(
            self._history,
            model,
            GateFile(gates=GATES),
            actor="make run",
            why="a retrained model ranks the latest flights as well as the champion",
        )

    def requested(self, request: dict[str, Any]) -> None:
        """Queue a request; may be called from any thread."""
        self._requests.put(request)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to roll out, or a rollout is active."""
        no_fault_due = self._fault_started or self._verdicts == 0
        return (self._requests.empty() and no_fault_due) or self._rolling_out()

    def roll_out(self) -> None:
        """Roll out the faulty version once, after the first verdict; otherwise answer requests."""
        if self._verdicts and not self._fault_started:
            self._fault_started = True
            self._roll_out_faulty_version()
        elif not self._requests.empty():
            self._retrain()

    def _roll_out_faulty_version(self) -> None:
        """Register the latest version with a wrong threshold, which its gates do not detect."""
        folder = train.BUILD / "retrained"
        onnx.save(predict_late_too_often(onnx.load(folder / "model.onnx")), folder / "model.onnx")
        version = self._add(folder)
        self._report(
            f"Version {version} is the latest version with a deliberate fault: it predicts a delay "
            "from a probability of 0.1 on. Its ROC AUC is the same."
        )
        if self._gate(version, "a deliberate fault"):
            self._start(version, "a deliberate fault")

    def _retrain(self) -> None:
        """Answer all queued requests with one version; report each step."""
        while not self._requests.empty():
            request = self._requests.get()
        try:
            offered = read_offered(request)
        except UnfitRows as error:
            self._report(
                f"The rows of request {request['id'][:12]} are unfit for training: {error}"
            )
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
        self._read_at = 0.0
        self._report(f"Version {number} answers {STEPS[0]:.0%} of the flights; the monitor judges.")

    def _register(self, until: int, offered: pd.DataFrame | None, request: str) -> str:
        """Train on the offered rows and on flights that had arrived at `until`.

        Returns the number of the version, or "" if there are too few rows.
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
        self._report(
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
        """Run the gates by the command, like a real pipeline; return whether they passed."""
        command = [sys.executable, "-P", "-m", "driftline", "gate", self._model]
        command += ["--version", number, "--why", why]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode == 0:
            self._report(f"Version {number} passed its gates.")
            return True
        self._report(f"Version {number} did not pass its gates:\n{done.stdout}{done.stderr}")
        return False

    def _rolling_out(self) -> bool:
        rollout = self._state.rollouts.get("champion")
        return rollout is not None and rollout.active

    @property
    def _state(self) -> LifecycleState:
        """The state of the registry, read at most twice a second: a second replays many hours."""
        if time.monotonic() - self._read_at > _READ_EVERY_S:
            with suppress(RegistryError):  # the registry is locked; the next call reads it
                self._latest = self._history.state(self._model)
                self._read_at = time.monotonic()
        return self._latest

    @property
    def _verdicts(self) -> int:
        return len(self._state.verdicts)

    def report_verdicts(self) -> None:
        """Report the monitor's verdicts since the last call."""
        rows = self._state.verdicts
        for row in rows[self._reported :]:
            verdict = row.decode(RolloutVerdict).verdict
            self._report(f"[bold]{HEADINGS[verdict].format(row.number)}[/bold]: {row.why}.")
        self._reported = len(rows)

    def months(self) -> list["Month"]:
        """Compare the first version with the versions that answered, month by month."""
        return compare(self._home, self._model, self._flights)


HEADINGS = {
    "promote": "The monitor promotes version {}",
    "roll back": "The monitor rolls version {} back and bars it",
    "pause": "The monitor pauses the rollout of version {}",
    "expire": "The rollout of version {} ends without a result",
}


class Month(NamedTuple):
    """Scores of one month: of the first version ("frozen"), and of the versions that answered.

    Costs are per flight: 5 for a late flight without a predicted delay, 1 for a wrongly predicted
    delay.
    """

    name: str
    versions: str  # numbers of the versions that answered
    frozen_auc: float
    answered_auc: float
    frozen_cost: float
    answered_cost: float


def compare(home: Home, model: str, flights: pd.DataFrame) -> list[Month]:
    """Compare the first version with the answering versions on each month's labelled flights."""
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
    """Return sentences about the months in which the loop is better, equal or worse."""
    sentences = []
    for metric, scores in (
        ("ROC AUC", [(m.name, m.answered_auc, m.frozen_auc) for m in months]),
        ("cost", [(m.name, -m.answered_cost, -m.frozen_cost) for m in months]),
    ):
        gains = [(name, round(loop, 3) - round(frozen, 3)) for name, loop, frozen in scores]
        better, worse, equal = (
            [name for name, gain in gains if np.sign(round(gain, 3)) == sign] for sign in (1, -1, 0)
        )
        sentence = f"By {metric}, the loop is better in {len(better)} of {len(months)} months"
        sentence += f", equal in {', '.join(equal)}" if equal else ""
        sentences.append(sentence + (f" and worse in {', '.join(worse)}." if worse else "."))
    return " ".join(sentences)


def _answers(home: Home, model: str) -> pd.DataFrame:
    """Return every flight in the log that was answered and labelled."""
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
    """Return the model with a label threshold of 0.1 and unchanged probabilities."""
    (choice,) = (node for node in model.graph.node if node.op_type == "ArgMax")
    weights = np.array([[1, 9]], np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "mistake"))
    product = onnx.helper.make_node("Mul", [choice.input[0], "mistake"], ["weighted"])
    model.graph.node.insert(list(model.graph.node).index(choice), product)
    choice.input[0] = "weighted"
    return model


def scores_of(folder: Path, flights: pd.DataFrame) -> "np.ndarray[Any, Any]":
    """Return each flight's probability of being late, predicted by the version in a folder."""
    model = folder / "model.onnx"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    frame = train.model_inputs(flights)
    feed = {name: frame[[name]].to_numpy() for name in data.FEATURES}
    (probabilities,) = session.run(["probabilities"], feed)
    return np.asarray(probabilities)[:, 1]


def _cost(late: "pd.Series[int]", score: "pd.Series[float]") -> float:
    predicted = score > 1 / 6  # threshold at which both errors have the same expected cost
    return float((5 * ((late == 1) & ~predicted) + ((late == 0) & predicted)).mean())


def _manifest() -> str:
    """Return the manifest of the first version with this file as its training program."""
    manifest = yaml.safe_load((HERE / "manifest.yaml").read_text())
    manifest["lineage"]["training"] = "examples/flights/closed_loop.py"
    text: str = yaml.safe_dump(manifest)
    return text
