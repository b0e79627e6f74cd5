"""A number that was passed over is missing first, and lost when it has had its time."""

import math
from pathlib import Path

import pytest

from eventlog.errors import UnreadableEvent
from eventlog.log import Record
from monitoring.ingest.ledger import enter
from monitoring.ingest.loss_detection import LossDetection
from monitoring.results import SourceLedger
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.windows.version_state import ConsumerState
from tests.monitoring.log_in_memory import VERSION


@pytest.fixture
def memory(tmp_path: Path) -> ConsumerState:
    return ConsumerState(Journal(Database(tmp_path / "monitor.db")), lambda *_: VERSION)


def _see(memory: ConsumerState, *sequences: int) -> None:
    empty = SourceLedger(source="s", epoch=1, next_sequence=0)
    for sequence in sequences:
        record = Record("s", 1, sequence, UnreadableEvent("damaged"))
        ledger = memory.ledgers.get("s", empty)
        memory.ledgers["s"], _ = enter(ledger, record, readable=True)


def _figures(memory: ConsumerState) -> tuple[int, int]:
    return memory.ledgers["s"].missing, memory.ledgers["s"].lost


def test_where_nothing_can_be_overtaken_it_is_lost_at_once(memory: ConsumerState) -> None:
    settling = LossDetection(memory, clock=lambda: 0.0)
    _see(memory, 0, 8)
    assert settling.due(0)
    settling.settle(0)
    assert _figures(memory) == (0, 7)
    assert not settling.due(0)


def test_it_is_waited_for_as_long_as_patience_lasts(memory: ConsumerState) -> None:
    now = [0.0]
    settling = LossDetection(memory, clock=lambda: now[0])
    _see(memory, 0, 8)
    settling.settle(30)
    assert _figures(memory) == (7, 0)
    _see(memory, 3, 12)  # one came, three more are missing since just now
    now[0] = 30.0
    assert settling.due(30)
    settling.settle(30)
    assert _figures(memory) == (3, 6)
    settling.settle(30)
    now[0] = 60.0
    settling.settle(30)
    assert _figures(memory) == (0, 9)


def test_while_another_reader_has_a_part_nothing_is_lost(memory: ConsumerState) -> None:
    now = [0.0]
    settling = LossDetection(memory, clock=lambda: now[0])
    _see(memory, 0, 8)
    settling.settle(math.inf)
    now[0] = 1e9
    assert not settling.due(math.inf)
    assert _figures(memory) == (7, 0)
