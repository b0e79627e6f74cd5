"""Log lines as text or JSON objects, without payloads of clients."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from registry.history.store import History
from telemetry.logs import LoggingSettings, about, configure

OLD_REGISTRY = Path(__file__).parents[1] / "registry/files/history_without_champions.sql"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_line_is_one_json_object_with_its_request_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("service", LoggingSettings(format="json"))
    names = about(TRACE, prediction_id="p-1", model="flights", version="")
    logging.getLogger("service.pipeline").error("it %s\nand more", "failed", extra=names)
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert logged.pop("time").endswith("+00:00")
    assert logged == {
        "level": "error",
        "logger": "service.pipeline",
        "process": "service",
        "message": "it failed\nand more",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "prediction_id": "p-1",
        "model": "flights",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_cannot_start_a_line_or_control_the_terminal(
    capsys: pytest.CaptureFixture[str], form: Literal["text", "json"]
) -> None:
    configure("service", LoggingSettings(format=form))
    logging.getLogger("x").error("no model %s", "a\nERROR forged\x1b[2J\x9b\u202e\x7f")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "\\nERROR" in line or "\\u000aERROR" in line


def test_a_migrated_registry_logs_one_line_and_a_new_registry_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure("service", LoggingSettings())
    assert History(tmp_path / "new.db").revision() == 0
    assert capsys.readouterr().err == ""
    with closing(sqlite3.connect(tmp_path / "old.db")) as file:
        file.executescript(OLD_REGISTRY.read_text())
    History(tmp_path / "old.db").revision()
    (line,) = capsys.readouterr().err.splitlines()
    assert "the registry's history was migrated from schema" in line


def test_an_exception_is_logged_in_a_single_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("monitor", LoggingSettings(format="json"))
    try:
        int("no")
    except ValueError:
        logging.getLogger("monitoring").exception("broken")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: invalid" in json.loads(line)["exception"]


def test_the_text_format_is_readable_and_has_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure("forwarder", LoggingSettings(level="warning"))
    logging.getLogger("eventlog").info("not said")
    logging.getLogger("eventlog").warning("said")
    said = capsys.readouterr().err
    assert said.endswith("WARNING eventlog: said\n")
    assert "not said" not in said
