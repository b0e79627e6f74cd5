"""A skipped sequence number is missing at first and lost once the patience has passed."""

import math
from pathlib import Path

import pytest

from eventlog.errors import UnreadableEvent
from eventlog.log import Record
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.loss_detection import LossDetection
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from tests.monitoring.log_in_memory import VERSION


@pytest.fixture
def state(tmp_path: Path) -> ConsumerState:
    return ConsumerState(Journal(Database(tmp_path / "monitor.db")), lambda *_: VERSION)


def _enter(state: ConsumerState, *sequences: int) -> None:
    for sequence in sequences:
        record = Record("s", 1, sequence, UnreadableEvent("damaged"))
        state.enter(record, readable=True, received=0)


def _figures(state: ConsumerState) -> tuple[int, int]:
    return state.ledgers["s", ""].missing, state.ledgers["s", ""].lost


def test_gap_is_lost_at_once_without_patience(state: ConsumerState) -> None:
    detection = LossDetection(state, clock=lambda: 0.0)
    _enter(state, 0, 8)
    assert detection.is_due(0)
    detection.detect(0)
    assert _figures(state) == (0, 7)
    assert not detection.is_due(0)


def test_gap_is_lost_once_the_patience_has_passed(state: ConsumerState) -> None:
    now = [0.0]
    detection = LossDetection(state, clock=lambda: now[0])
    _enter(state, 0, 8)
    detection.detect(30)
    assert _figures(state) == (7, 0)
    _enter(state, 3, 12)  # one has arrived, three more are missing from now on
    now[0] = 30.0
    assert detection.is_due(30)
    detection.detect(30)
    assert _figures(state) == (3, 6)
    detection.detect(30)
    now[0] = 60.0
    detection.detect(30)
    assert _figures(state) == (0, 9)


def test_nothing_is_lost_while_the_patience_is_infinite(state: ConsumerState) -> None:
    now = [0.0]
    detection = LossDetection(state, clock=lambda: now[0])
    _enter(state, 0, 8)
    detection.detect(math.inf)
    now[0] = 1e9
    assert not detection.is_due(math.inf)
    assert _figures(state) == (7, 0)
