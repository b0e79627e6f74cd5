"""The buffered rows and labels of a step equal a statement for each event."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from monitoring.results import Window
from monitoring.storage.database import Database
from monitoring.storage.predictions import Predictions
from monitoring.storage.rows import EarlyLabel, StoredRow, encode

KEY = ("tiny", "1")
NAMES = st.sampled_from(["a", "b", "c"])
ROWS = st.sampled_from([0, 1])
STARTS = st.sampled_from([0, 10])
WINDOWS = {start: Window(start, start + 10) for start in (0, 10)}


class SingleAndBatchedWrites(RuleBasedStateMachine):
    """Two databases with the same events: one written after every event, one in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        files = (Path(self.folder.name) / name for name in ("once", "together"))
        self.databases = [Database(path) for path in files]
        self.once, self.together = map(Predictions, self.databases)
        self.number = 0

    def teardown(self) -> None:
        for database in self.databases:
            database.close()
        self.folder.cleanup()

    def _both(self) -> Iterator[Predictions]:
        yield self.once
        yield self.together

    def _same(self, reported: list[Any]) -> None:
        self.once.reset()
        assert reported[0] == reported[1]

    @rule(name=NAMES, row=ROWS, start=STARTS, kept=st.booleans())
    def add_row(self, name: str, row: int, start: int, *, kept: bool) -> None:
        self.number += 1
        body = encode([self.number]) if kept else None
        for one in self._both():
            place = name, row, *KEY, start, self.number
            one.add_row(StoredRow(*place, body, None, self.number, encode(self.number)))
        self._same([0, 0])

    @rule(start=STARTS, back=st.integers(0, 5))
    def evict_rows(self, start: int, back: int) -> None:
        for one in self._both():
            one.evict(KEY, start, self.number - back)
        self._same([0, 0])

    @rule(name=NAMES, row=ROWS, label=st.integers(0, 3))
    def add_label(self, name: str, row: int, label: int) -> None:
        reported = []
        for one in self._both():
            known = one.find(name, row)
            if known is None:
                reported.append(
                    [one.add_early_label(name, row, EarlyLabel(encode(label), 7, self.number))]
                )
            else:
                reported.append([known.start, known.label, known.time, known.predicted])
                one.add_label(name, row, label)
        self._same(reported)

    @rule(name=NAMES)
    def pop_early_label(self, name: str) -> None:
        self._same([one.pop_early_labels(name) for one in self._both()])

    @rule(start=STARTS)
    def read_window(self, start: int) -> None:
        self._same([one.sampled_rows(KEY, WINDOWS[start]) for one in self._both()])
        self._same([sorted(one.sampled_hashes(KEY, WINDOWS[start])) for one in self._both()])

    @rule(start=STARTS, sampled=st.booleans())
    def delete_rows_up_to_a_window(self, start: int, *, sampled: bool) -> None:
        reported = []
        for one in self._both():
            one.reset()
            sweep = one.delete_samples if sampled else one.delete_rows
            reported.append(sweep(KEY, WINDOWS[start].end, 1_000))
        self._same(reported)

    @rule(back=st.integers(0, 9))
    def expire_early_labels(self, back: int) -> None:
        reported = []
        for one in self._both():
            expired = one.expire_early_labels(max(one.early_until, self.number - back))
            assert one.delete_early_labels(1_000) >= 0
            reported.append(expired)
        self._same(reported)

    @rule()
    def end_step(self) -> None:
        self.together.reset()
        tables = [
            [database.all(f"SELECT * FROM {name}") for name in ("predictions", "early_labels")]
            for database in self.databases
        ]
        self._same(tables)


TestSingleAndBatchedWrites = SingleAndBatchedWrites.TestCase
TestSingleAndBatchedWrites.settings = settings(max_examples=40, stateful_step_count=30)
