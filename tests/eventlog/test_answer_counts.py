"""The count of replies survives the deletion of segments."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.answer_counts import MINUTE, CountingWriter, read_answer_counts
from eventlog.errors import LogUnavailable
from eventlog.events import FeedbackEvent
from eventlog.layout import segments


def _append(writer: CountingWriter, minutes: list[int]) -> None:
    writer.append(
        [
            FeedbackEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=writer.next_sequence + n,
                time=0,
                received=minute * MINUTE + n,
                prediction_id="p",
                label=1,
            )
            for n, minute in enumerate(minutes)
        ]
    )


@given(st.lists(st.lists(st.integers(100, 120), min_size=1, max_size=6), max_size=40), st.data())
def test_every_event_is_counted_in_its_minute_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    expected: Counter[int] = Counter()
    writer = CountingWriter.claim(folder, "host")
    for minutes in batches:
        if data.draw(st.integers(0, 9)) == 0:
            writer.close()
            writer = CountingWriter.claim(folder, "host")
        _append(writer, minutes)
        expected.update(minutes)
    assert read_answer_counts(folder / "host-0") == expected
    writer.close()


def test_the_count_grows_over_many_minutes(tmp_path: Path) -> None:
    writer = CountingWriter.claim(tmp_path, "host")
    for minute in range(1000):
        _append(writer, [minute])
    assert read_answer_counts(tmp_path / "host-0") == Counter(range(1000))


def test_events_that_the_log_refused_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = CountingWriter.claim(tmp_path, "host")
    _append(writer, [1])
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(5, "broken")))
    with pytest.raises(LogUnavailable):
        _append(writer, [1])
    assert read_answer_counts(tmp_path / "host-0") == {1: 1}


def test_a_missing_file_has_no_counts(tmp_path: Path) -> None:
    assert read_answer_counts(tmp_path) == {}


COUNT_FOR_EVER = """
import sys
from pathlib import Path
from eventlog.answer_counts import CountingWriter
from eventlog.events import FeedbackEvent

writer = CountingWriter.claim(Path(sys.argv[1]), "host")
while True:
    writer.append([FeedbackEvent(source=writer.source, epoch=writer.epoch,
        sequence=writer.next_sequence, time=0, received=0, prediction_id="p", label=1)])
    print(writer.next_sequence, flush=True)
"""


def test_a_killed_worker_has_counted_every_sent_reply(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT_FOR_EVER, str(tmp_path)]
    acknowledged = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while acknowledged < 500:
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert read_answer_counts(tmp_path / "host-0")[0] >= acknowledged
    assert segments(tmp_path / "host-0")
