"""`driftline review`: export, import, and refused labels."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.review import review
from eventlog.events import FeedbackEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.store import Registry
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A monitor that has picked rows of `tiny`."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.setattr(Registry, "version", lambda *_: VERSION)  # what it has registered
    log = Log()
    for n in range(60):
        log.predict(T0 + n, f"a{n}")
    log.pass_time(T0 + 2 * HOUR)
    found = Home(tmp_path)
    Monitor(found.monitor, log.records).drain()
    return found


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(review, list(arguments))


def test_labels_of_a_file_are_recorded_once(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    done = _run("export", "tiny", "--format", "label-studio", "--output", str(file))
    assert "rows to label" in done.output
    tasks = json.loads(file.read_text())
    for task, label in zip(tasks, ("1", "0", "seven"), strict=False):
        result = {"from_name": "label", "to_name": "row", "value": {"choices": [label]}}
        task["annotations"] = [{"completed_by": 3, "result": [result]}]
    file.write_text(json.dumps(tasks))
    done = _run("import", "tiny", str(file), "--why", "looked at it")
    assert done.output.startswith("2 labels recorded by local:")
    assert "1 label refused" in str(done.exception)
    assert "its label 'seven' is not one of the classes 0, 1" in str(done.exception)
    again = _run("import", "tiny", str(file))
    assert again.output.startswith("0 labels recorded")
    assert "2 decided earlier" in again.output
    reader = SegmentReader(home.log, {})
    events = [one.event for one in reader.poll(100) if isinstance(one.event, FeedbackEvent)]
    reader.close()
    assert [(one.review, one.label) for one in events] == [("accept", 1), ("correct", "0")]
    assert {one.why for one in events} == {"looked at it; labelled by 3"}
    assert all(0 < one.inclusion <= 1 for one in events)


def test_a_file_without_labels_is_refused(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('{"rows": []}')
    refused = _run("import", "tiny", str(file))
    assert "expected an export of driftline review" in str(refused.exception)
    assert not home.log.exists()


def test_an_unregistered_model_is_an_error_not_an_empty_queue(home: Home) -> None:
    refused = _run("export", "timy")
    assert "no model 'timy'" in str(refused.exception)
