"""`driftline trace` on log, registry and the monitor's database."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from driftline.trace import UnknownPrediction
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.results import Alarm, Window
from monitoring.results import Result as WindowResult
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.rows import StoredRow
from registry.history.rows import (
    ApprovalRule,
    ApprovalSubject,
    GateResult,
    HistoryRow,
    ReleasePolicy,
    encode_detail,
)
from registry.history.store import History
from registry.store import Registry
from tests.tiny_model import register_tiny

MINUTE = 60_000_000
HOUR = 60 * MINUTE
PREDICTION = "0123456789-abc-1-0123456789ab"


class Traced:
    """A home where one prediction left a trace everywhere."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        registry = Registry(self.home)
        self.version = register_tiny(
            registry, folder / "files", lineage={"commit": "4f2a", "trained_by": "key:tom"}
        )
        self.history = History(self.home.registry)
        self.time = self.history.rows("tiny")[-1].time
        self._release()
        self.revision = self.history.revision()
        self.start = self.time // HOUR * HOUR

    def _release(self) -> None:
        digest = self.version.digest
        policy = ReleasePolicy(gates={"size": {}}, approvals={"champion": ApprovalRule()})
        result = GateResult(verdict="passed", gates={"size": "passed"})

        def add(kind: str, actor: str, detail: Any, **more: Any) -> int:
            row = HistoryRow(
                0, "tiny", kind, "1", self.time, actor, digest=digest,
                detail=encode_detail(detail) if detail else "", **more,
            )  # fmt: skip
            return self.history.append("tiny", lambda _: [row])

        revision = add("release_policy", "key:risk", policy)
        result = GateResult(verdict="passed", gates={"size": "passed"}, policy=revision)
        add("gated", "key:ci", result, evidence="e" * 64)
        subject = ApprovalSubject("e" * 64, "", revision)
        add("requested", "key:ann", subject, alias="champion")
        add("approved", "key:bob", subject, alias="champion", why="read the report")
        self.history.promote(
            "tiny", "champion", "1", time=self.time, actor="key:cyd", why="approved"
        )

    def log(self) -> None:
        writer = SegmentWriter.claim(self.home.log, "here", LogSettings(reserve_bytes=0))
        place = {"source": writer.source, "epoch": writer.epoch}
        writer.append([
            PredictionEvent(
                **place, sequence=0, time=self.start + MINUTE, received=self.time + 1,
                prediction_id=PREDICTION, model="tiny", protocol="rest", outcome="ok",
                version="1", digest=self.version.digest, alias="champion",
                revision=self.revision, rows=1, batch_id="b-7", batch_rows=3, batch_offset=2,
            ),
            FeedbackEvent(
                **place, sequence=1, time=self.time, received=self.time + 2,
                prediction_id=PREDICTION, label=1, actor="key:labels", verified=True,
            ),
        ])  # fmt: skip
        writer.close()

    def monitor(self) -> None:
        window = Window(self.start, self.start + HOUR)
        database = Database(self.home.monitor)
        with database.transaction():
            journal = Journal(database)
            journal.predictions.add_row(
                StoredRow(PREDICTION, 0, "tiny", "1", self.start, 5, None, b"1", self.start, b"0")
            )
            journal.predictions.flush()
            journal.add_result(
                WindowResult(
                    model="tiny", version="1", window=window, rows=9, labelled=4,
                    verdict="drifted", revision=2,
                )
            )  # fmt: skip
            for name, begin in (("open-1", self.start), ("past-1", self.start - 9 * HOUR)):
                span = Window(begin, begin + HOUR)
                journal.save_alarm(
                    Alarm(
                        alarm_id=name, model="tiny", version="1", rule="drift", state="firing",
                        since=span, latest=span,
                    )
                )  # fmt: skip
        database.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["trace", *arguments])


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    traced = Traced(tmp_path_factory.mktemp("traced"))
    traced.log()
    traced.monitor()
    return traced


@pytest.fixture
def home(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(traced.home.root))
    return traced.home


@pytest.mark.usefixtures("home")
def test_a_trace_names_every_step(traced: Traced) -> None:
    result = run(PREDICTION)
    assert result.exit_code == 0, result.exception
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    for expected in (
        "model tiny version 1",
        f"digest {traced.version.digest}",
        "called by alias champion",
        "batch b-7, starts at row 2 of 3",
        "gates passed (size passed), by key:ci",
        "requested by key:ann",
        "approved by key:bob",
        "promoted by key:cyd",
        "commit 4f2a",
        "row 0 1 by key:labels",
        "row 0 predicted 0, label 1",
        "drifted, result revision 2, 9 rows, 4 labelled",
        "alarm drift (warning, firing)",
        f"gate report not found here: the folder {traced.home.gate_reports}",
    ):
        assert any(expected in line for line in lines), (expected, result.output)
    assert "open-1" in result.output
    assert "past-1" not in result.output
    assert "not counted" not in result.output
    assert "DIFFERENCE" not in result.output


@pytest.mark.usefixtures("home")
def test_a_trace_is_one_json_object(traced: Traced) -> None:
    found = json.loads(run(PREDICTION, "--json").stdout)
    assert found["event"]["prediction_id"] == PREDICTION
    assert found["registry"]["pointed"]["actor"] == "key:cyd"
    assert found["registry"]["approvals"][0]["counted"] is True
    assert found["lineage"]["files"].keys() >= {"model.onnx", "reference.parquet"}
    assert [one["alarm_id"] for one in found["monitor"]["alarms"]] == ["open-1"]
    assert list(found["not_found"]) == ["gate report"]


@pytest.mark.usefixtures("home")
def test_without_the_log_the_monitor_names_version_and_time() -> None:
    result = run(PREDICTION, "--no-log")
    assert result.exit_code == 0
    assert "not found here: the log was not searched (--no-log)" in result.output
    assert "predicted 0, label 1" in result.output
    assert "registered" in result.output


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("prediction_id", ["0123456789-abc-1-0123456789ac", "p", 'é"\\'])
def test_an_unknown_id_is_reported_with_the_searched_places(
    traced: Traced, prediction_id: str
) -> None:
    result = run(prediction_id)
    assert isinstance(result.exception, UnknownPrediction)
    assert f"the log {traced.home.log} (1 segment of 1 source, " in str(result.exception)
    assert f"the monitor's database {traced.home.monitor}" in str(result.exception)


@pytest.mark.parametrize("prediction_id", ["", "x" * 513, "a\0b"])
def test_an_invalid_id_is_refused(home: Home, prediction_id: str) -> None:
    assert "expected 1 to 512 characters" in run(prediction_id).output


def test_an_empty_home_is_searched_without_creating_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    result = run("p")
    assert isinstance(result.exception, UnknownPrediction)
    assert "monitor.db, which does not exist" in str(result.exception)
    assert not (tmp_path / "monitor.db").exists()
