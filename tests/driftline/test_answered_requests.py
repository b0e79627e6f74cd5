"""`driftline register --answers` links a version to its retraining request."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from eventlog.settings import Home
from monitoring.results import RetrainRequest, Window
from monitoring.storage.database import Database
from monitoring.storage.sql import outbox
from monitoring.webhooks.body import envelope
from registry.errors import InvalidName, UnknownRequest
from registry.settings import open_history
from registry.store import Registry
from tests.tiny_model import tiny_classifier, write_tiny

ASKED = "rr_0123456789abcdef01234567"


def request_body(model: str) -> bytes:
    """Return the body of a request for retraining a model."""
    request = RetrainRequest(
        model=model,
        version="1",
        digest="",
        alarm_id="a",
        rule="drift",
        reason="drift",
        columns=[],
        window=Window(start=0, end=1),
        positions={},
        rows_url="",
        register_hint="",
    )
    return envelope(ASKED, 1_000_000, request)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DRIFTLINE_MONITOR_DATABASE", raising=False)
    write_tiny(tmp_path)
    return Home(tmp_path / "home")


@pytest.fixture
def monitored(home: Home) -> Home:
    home.root.mkdir(exist_ok=True)
    database = Database(home.monitor)
    with database.transaction():
        database.write(outbox.ADD, ASKED, request_body("taxi"), 1_000_000, 1, 0, "delivered", "")
    database.close()
    return home


def register(folder: Path, model: str, answers: str) -> Result:
    files = ("--manifest", str(folder / "manifest.yaml"))
    reference = ("--reference", str(folder / "reference.parquet"))
    command = ["register", str(folder / "model.onnx"), "--name", model, *files, *reference]
    return CliRunner().invoke(driftline, [*command, "--answers", answers])


def test_a_version_names_the_request_that_it_answers(monitored: Home, tmp_path: Path) -> None:
    done = register(tmp_path, "taxi", ASKED)
    assert done.exit_code == 0, done.output
    history = open_history(monitored)
    row = next(row for row in history.rows("taxi") if row.kind == "registered")
    assert row.evidence == ASKED
    assert history.state("taxi").answers[ASKED].number == "1"


def test_an_unknown_request_is_refused_before_anything_is_stored(
    monitored: Home, tmp_path: Path
) -> None:
    for model, answers in (("taxi", "rr_other"), ("bus", ASKED)):
        done = register(tmp_path, model, answers)
        assert isinstance(done.exception, UnknownRequest)
        assert f"no retraining request {answers!r} of model {model!r}" in str(done.exception)
    assert Registry(monitored).models() == []


def test_without_the_monitors_database_any_id_is_accepted(home: Home, tmp_path: Path) -> None:
    assert register(tmp_path, "taxi", "rr_elsewhere").exit_code == 0
    assert not home.monitor.exists()
    assert open_history(home).state("taxi").answers["rr_elsewhere"].number == "1"


@pytest.mark.parametrize("answers", ["rr 1", "-x", "../x", "rr_1\n", "x" * 101])
def test_an_invalid_id_is_refused(home: Home, tmp_path: Path, answers: str) -> None:
    done = register(tmp_path, "taxi", answers)
    assert isinstance(done.exception, InvalidName)
    assert Registry(home).models() == []


def test_registered_content_answers_a_later_request_once(home: Home, tmp_path: Path) -> None:
    registry = Registry(home, clock=lambda: 7_000)
    onnx = tiny_classifier().SerializeToString()
    first = registry.register(onnx, model="bare", actor="ann")
    again = [registry.register(onnx, model="bare", actor="bob", answers="rr_1") for _ in "12"]
    assert [one.number for one in again] == [first.number] * 2
    state = open_history(home).state("bare")
    rows = [row for row in open_history(home).rows("bare") if row.kind == "registered"]
    assert [(row.actor, row.evidence) for row in rows] == [("ann", ""), ("bob", "rr_1")]
    assert state.registered["1"].actor == "ann", "its registrant stays who registered it"
    assert (state.answers["rr_1"].time, rows[1].digest) == (7, first.digest)
