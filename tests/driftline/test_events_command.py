"""`driftline events`: verify, search, export and count the log."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from driftline.events import events
from eventlog import frames
from eventlog.dead_letters import DeadLetters, UnforwardedRecord
from eventlog.events import FeedbackEvent, PredictionEvent, PredictionEventV1, Tensor
from eventlog.heartbeats import Heartbeats
from eventlog.layout import segments
from eventlog.segments import SegmentWriter
from eventlog.settings import Home
from eventlog.shards import shard_of
from eventlog.stamps import Stamps

DAY = 86_400_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Ten predictions of two models on ten days, and a label."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    home = Home(tmp_path)
    writer = SegmentWriter.claim(home.log, "host")
    stamp: dict[str, Any] = {"source": writer.source, "epoch": writer.epoch}
    for day in range(10):
        event = PredictionEvent(
            **stamp,
            sequence=day,
            time=day * DAY,
            received=day * DAY,
            prediction_id=f"p{day}",
            model="flights" if day % 2 else "fraud",
            protocol="rest",
            outcome="ok",
            inputs={"x": Tensor("FP32", [1], [float(day)])},
        )
        writer.append([event])
    writer.append(
        [FeedbackEvent(**stamp, sequence=10, time=0, received=0, prediction_id="p1", label="late")]
    )
    return home


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(events, list(arguments))


def test_an_intact_log_is_verified(home: Home) -> None:
    result = _run("verify")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[1].split("\t") == ["host-0", "1", "11", "0", "0", "0"]


def test_damage_gaps_and_torn_tails_are_distinguished_and_end_with_1(home: Home) -> None:
    path = segments(home.log / "host-0")[0].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data + data[:40])
    other = SegmentWriter.claim(home.log, "host")
    other.next_sequence = 3  # as after three dropped events
    label = FeedbackEvent(
        source=other.source,
        epoch=other.epoch,
        sequence=3,
        time=0,
        received=0,
        prediction_id="p",
        label=1,
    )
    other.append([label])
    result = _run("verify")
    rows = [line.split("\t") for line in result.output.splitlines()[1:]]
    assert result.exit_code == 1
    assert rows == [
        ["host-0", "1", "10", "1", "0", "40"],
        ["host-1", "1", "1", "0", "3", "0"],
    ]


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A log that release 0.2 began and this one continues."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "mixed"))
    home = Home(tmp_path / "mixed")
    writer = SegmentWriter.claim(home.log, "host")
    place: dict[str, Any] = {"source": "host-0", "epoch": writer.epoch, "time": 1, "received": 1}
    about: dict[str, Any] = {"model": "flights", "protocol": "rest", "outcome": "ok"}
    for n in range(5):
        writer.append([PredictionEventV1(**place, **about, sequence=n, prediction_id=f"old-{n}")])
    for n in range(20):
        stamp = Stamps(writer).take(shard_of("flights"))._asdict()
        writer.append([PredictionEvent(**place, **about, **stamp, prediction_id=f"new-{n}")])
    Heartbeats(writer, lambda: 1).end()
    writer.close()
    return home


def test_a_log_of_both_schema_versions_is_verified_exported_and_printed(
    mixed: Home, tmp_path: Path
) -> None:
    assert _run("verify").exit_code == 0
    target = tmp_path / "out.jsonl"
    assert _run("export", str(target)).output.startswith("26 events written")
    lines = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert [line["type"].removeprefix("driftline.") for line in lines] == (
        ["prediction.v1"] * 5 + ["prediction.v2"] * 20 + ["heartbeat.v2"]
    )
    assert [json.loads(line) for line in _run("tail").output.splitlines()] == lines
    assert _run("count").output == "host-0\t25\ntotal\t25\n"
    columns = tmp_path / "out.parquet"
    assert _run("export", str(columns), "--kind", "prediction").exit_code == 0
    assert pq.read_table(columns)["number"].to_pylist() == [0] * 5 + list(range(20))
    assert _run("export", str(columns), "--kind", "heartbeat").exit_code == 0
    assert pq.read_table(columns)["predictions"].to_pylist() == [20]


def test_seven_records_deleted_by_hand_are_missing_in_their_shard(mixed: Home) -> None:
    path = segments(mixed.log / "host-0")[0].path
    found = list(frames.split(data := path.read_bytes(), final=True))
    path.write_bytes(data[: found[8].start] + data[found[15].start :])
    result = _run("verify")
    assert result.exit_code == 1
    assert result.output.splitlines()[1].split("\t")[4] == "7"
    assert (
        f"host-0: 7 events of shard {shard_of('flights')} are missing or unreadable"
        in result.output
    )


def test_export_filters_by_time_model_and_kind(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    chosen = ["--model", "flights", "--from", "1970-01-02", "--to", "1970-01-06"]
    assert _run("export", str(target), *chosen).exit_code == 0
    lines = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert [line["prediction_id"] for line in lines] == ["p1", "p3"]
    assert _run("export", str(target)).output.startswith("11 events written")


def test_export_writes_parquet_with_one_column_per_field(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    assert "expected --kind" in _run("export", str(target)).output
    assert not target.exists()
    assert _run("export", str(target), "--kind", "prediction").exit_code == 0
    table = pq.read_table(target)
    assert table["model"].to_pylist()[:2] == ["fraud", "flights"]
    assert json.loads(table["inputs"][3].as_py())["x"]["data"] == [3.0]
    assert _run("export", str(target), "--kind", "feedback").exit_code == 0
    assert json.loads(pq.read_table(target)["label"][0].as_py()) == "late"


def test_tail_and_count_show_the_events_of_the_log(home: Home) -> None:
    assert len(_run("tail").output.splitlines()) == 11
    assert _run("count").output == "host-0\t11\ntotal\t11\n"


def test_dead_letters_of_the_forwarder_are_listed_and_shown(home: Home) -> None:
    letters = DeadLetters(home.dead_letters)
    assert _run("deadletters").output == "origin\treceived\tbytes\treason\n"
    letters.add([UnforwardedRecord("host-0", 1, 3, "too\nlarge\x9b", DAY, 9, b"{the raw}")])
    letters.add([UnforwardedRecord("host-0", 1, 4, "damaged")])
    assert [line.split("\t") for line in _run("deadletters").output.splitlines()[1:]] == [
        ["host-0:1:4", "-", "0", "damaged"],
        ["host-0:1:3", "1970-01-02T00:00:00+00:00", "9", r"too\nlarge\x9b"],
    ]
    assert _run("deadletters", "host-0:1:3").output == "{the raw}\n"
    assert "deleted to free space" in _run("deadletters", "host-0:1:4").output
    for unknown, reason in (("host-0:1:9", "no dead letter"), ("x", "expected source:epoch")):
        result = _run("deadletters", unknown)
        assert reason in result.output
        assert result.exit_code
