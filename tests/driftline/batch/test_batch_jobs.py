"""A job predicts every row in its place, whatever the chunk size and wherever it is killed."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.batch import assembly, checkpoints, chunk_events
from driftline.batch.command import BatchRequest, run_job
from driftline.batch.errors import BatchError
from eventlog.errors import AlreadyRunning, UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.history.audit import EventCheck
from registry.settings import open_history
from registry.store import Registry
from tests.driftline.batch.conftest import expected, read, rows_of, write

ROWS = 230


class Killed(BaseException):
    """The process ended here."""


def run(source: Path, output: Path, **options: Any) -> Any:
    options = {"chunk": 50, "copied": ["id"], **options}
    return run_job(
        BatchRequest(model="tiny", source=str(source), output=str(output), **options), quiet=True
    )


def events(home: Home, prefix: str) -> list[PredictionEvent]:
    reader, found = SegmentReader(home.log, {}), []
    while records := reader.poll(1_000):
        for record in records:
            assert not isinstance(record.event, UnreadableEvent)
            if isinstance(record.event, PredictionEvent):
                found.append(record.event)
    reader.close()
    return [one for one in found if one.prediction_id.startswith(prefix)]


@given(
    chunk=st.integers(1, ROWS + 20),
    group=st.integers(1, ROWS),
    workers=st.integers(1, 3),
    suffix=st.sampled_from([".parquet", ".csv"]),
)
def test_output_row_i_belongs_to_input_row_i_for_any_chunk_size(  # noqa: PLR0917
    home: Home, tmp_path_factory: pytest.TempPathFactory, chunk: int, group: int, workers: int,
    suffix: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("rows")
    frame = rows_of(ROWS)
    source = write(frame, folder / f"in{suffix}", group)
    done = run(source, folder / "out.parquet", chunk=chunk, workers=workers)
    out = read(folder / "out.parquet")
    assert out["id"].astype(int).tolist() == list(range(ROWS))
    assert np.allclose(out["probability_1"], expected(frame), atol=1e-6)
    assert (out["prediction"] == (out["probability_1"] > 0.5)).all()
    assert (done.rows, done.rejected) == (ROWS, 0)
    assert not list(folder.glob(".*"))


def _crashing(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int, *, after: bool) -> None:
    """End the process before or after the `at`-th call of a function."""
    original: Callable[..., Any] = getattr(owner, name)
    left = [at]

    def step(*args: Any, **fields: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            raise Killed
        result = original(*args, **fields)
        if left[0] == 0:
            raise Killed
        return result

    patch.setattr(owner, name, step)


def killed_at_chunk(at: int, after: bool, source: Path, output: Path, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _crashing(patch, checkpoints.Checkpoints, "write", at, after=after)
        with pytest.raises(Killed):
            run(source, output, **options)


STEPS = [(checkpoints.Checkpoints, "write"), (chunk_events.ChunkLog, "append"),
         (assembly, "_place"), (checkpoints.Checkpoints, "remove"),
         (checkpoints.Checkpoints, "add_writer")]  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_killed_and_resumed_job_writes_the_same_bytes(
    home: Home, tmp_path: Path, suffix: str
) -> None:
    frame = rows_of(ROWS, seed=int.from_bytes(suffix.encode()) % 1_000)
    frame.loc[[3, 120], "price"] = np.inf
    frame["price"] = frame["price"].astype(object)
    frame.loc[60, "price"] = "dear"
    source = write(frame.astype({"price": str}), tmp_path / f"in{suffix}")
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    before = {one.event_id for one in events(home, "")}
    run(source, whole)
    (prefix,) = {one.prediction_id.rsplit("-", 2)[0] for one in events(home, "")
                 if one.event_id not in before}  # fmt: skip
    logged = len(events(home, prefix))
    assert logged == 5
    for owner, name in STEPS:
        for at, after in ((1, False), (1, True), (2, False), (2, True)):
            with pytest.MonkeyPatch.context() as patch:
                _crashing(patch, owner, name, at, after=after)
                try:
                    run(source, cut)
                except Killed:
                    continue
    run(source, cut)
    assert cut.read_bytes() == whole.read_bytes()
    rejects = cut.with_name("cut.rejects.csv").read_bytes()
    assert rejects == whole.with_name("whole.rejects.csv").read_bytes()
    assert b"'dear'" in rejects
    assert not list(tmp_path.glob(".*"))


def test_a_resumed_chunk_is_logged_once(home: Home, tmp_path: Path) -> None:
    source = write(rows_of(ROWS, seed=77), tmp_path / "in.parquet")
    for at, after in ((1, False), (1, True), (2, True), (2, False)):
        killed_at_chunk(at, after, source, tmp_path / "out.parquet", workers=3)
    run(source, tmp_path / "out.parquet")
    out = read(tmp_path / "out.parquet")
    ids = out["prediction_id"].drop_duplicates().tolist()
    logged = events(home, ids[0].rsplit("-", 2)[0])
    assert Counter(one.prediction_id for one in logged) == dict.fromkeys(ids, 1)
    assert {one.protocol for one in logged} == {"batch"}
    check = EventCheck(open_history(home).all_rows())
    assert [fault for one in logged if (fault := check.fault(one))] == []
    first = next(one for one in logged if one.prediction_id == ids[1])
    labels = first.outputs["label"].values()
    rows = out[out["prediction_id"] == ids[1]]
    assert rows["prediction_row"].tolist() == list(range(50))
    assert rows["prediction"].tolist() == labels


def test_rejected_rows_keep_their_place_and_state_why(home: Home, tmp_path: Path) -> None:
    frame = rows_of(12).astype({"price": str})
    frame.loc[0, "price"], frame.loc[7, "price"] = "cheap", "1e300"
    frame.loc[11, "price"] = ""
    done = run(write(frame, tmp_path / "in.csv"), tmp_path / "out.csv", chunk=5)
    out = read(tmp_path / "out.csv")
    listed = pd.read_csv(tmp_path / "out.rejects.csv")
    assert done.rejected == 2
    assert out["id"].tolist() == list(range(12))
    assert np.flatnonzero(out["prediction"].isna()).tolist() == listed["row"].tolist() == [0, 7]
    assert listed["reason"][0] == (
        "feature 'price': expected a number that fits FP32 (or no value), got 'cheap'"
    )
    assert out["prediction_row"].dropna().tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_folders_keep_their_files_or_become_one_file(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "day=2").mkdir(parents=True)
    frame = rows_of(100)
    write(frame[:30], folder / "day=2" / "a.parquet")
    write(frame[30:90], folder / "b.csv")
    write(frame[90:90], folder / "c.csv")
    write(frame[90:], folder / "_hidden.csv")
    run(folder, tmp_path / "out", chunk=20)
    found = sorted(p.relative_to(tmp_path / "out").as_posix()
                   for p in (tmp_path / "out").rglob("*.*"))  # fmt: skip
    assert found == ["b.csv", "c.csv", "day=2/a.parquet"]
    run(folder, tmp_path / "out.csv", chunk=20)
    assert read(tmp_path / "out.csv")["id"].tolist() == [*range(30, 90), *range(30)]


def test_a_job_keeps_the_version_of_its_alias_at_the_start(home: Home, tmp_path: Path) -> None:
    registry = Registry(home)
    other = registry.register(
        Path(registry.version("tiny", "1").path) / "model.onnx", model="tiny",
        manifest={"task": "classification", "target": "bought", "description": "other",
                  "prediction": {"label": "label", "probabilities": "probabilities",
                                 "classes": [0, 1]},
                  "features": [{"name": "price", "kind": "numeric", "nullable": True},
                               {"name": "colour", "kind": "categorical", "nullable": True}]},
    )  # fmt: skip
    source = write(rows_of(ROWS, seed=3), tmp_path / "in.parquet")
    killed_at_chunk(2, True, source, tmp_path / "out.csv")
    registry.promote("tiny", other.number)
    with pytest.raises(BatchError, match="unfinished job"):
        run(source, tmp_path / "out.csv", number=other.number)
    assert run(source, tmp_path / "out.csv").job.version == "1"
    registry.promote("tiny", "1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "none"}, "no model 'none'"),
        ({"alias": "next"}, "alias 'next' of tiny names no version; aliases: champion"),
        ({"number": "9"}, "no version '9'"),
        ({"source": "missing.csv"}, "no such file or folder"),
        ({"source": "in.txt"}, "expected a name that ends in .parquet or .csv"),
        ({"output": "out.txt"}, "expected a name that ends in .parquet or .csv"),
        ({"output": "in.csv"}, "the output would replace the input"),
        ({"source": "other.csv"}, "other.csv: no column 'colour'"),
        ({"source": "typed.parquet"}, "column 'colour' contains int64; expected texts"),
        ({"source": "torn.parquet"}, "torn.parquet cannot be read"),
        ({"source": "ragged.csv"}, "ragged.csv cannot be read"),
        ({"copied": ["day"]}, "--copy names column 'day', which is missing"),
        ({"source": "s3x://bucket/in.csv"}, "s3x://bucket/in.csv"),
    ],
)
def test_an_impossible_job_is_refused_with_the_place(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    frame = rows_of(20)
    write(frame, Path("in.csv"))
    Path("in.txt").write_text("id\n")
    write(frame.drop(columns="colour"), Path("other.csv"))
    write(frame.assign(colour=1), Path("typed.parquet"))
    write(frame, Path("torn.parquet"))
    Path("torn.parquet").write_bytes(Path("torn.parquet").read_bytes()[:-40])
    Path("ragged.csv").write_text("price,colour\n1,red\n2\n")
    stated = {"model": "tiny", "source": "in.csv", "output": "out.csv", **options}
    with pytest.raises(Exception, match=message.replace(".", r"\.")):
        run_job(BatchRequest(**stated), quiet=True)
    assert not Path("out.csv").exists()
    assert not Path(".out.csv.unfinished").exists()


def test_a_second_process_cannot_run_the_same_job(home: Home, tmp_path: Path) -> None:
    source = write(rows_of(20), tmp_path / "in.csv")
    held = checkpoints.Checkpoints(tmp_path / ".out.csv.unfinished")
    with pytest.raises(AlreadyRunning, match="wait until it ends, or state another output"):
        run(source, tmp_path / "out.csv")
    held.close()
    assert not list(tmp_path.glob(".*"))


def test_changed_input_is_not_mixed_with_finished_chunks(home: Home, tmp_path: Path) -> None:
    source = write(rows_of(ROWS), tmp_path / "in.csv")
    killed_at_chunk(2, True, source, tmp_path / "out.csv")
    write(rows_of(ROWS + 1), source)
    with pytest.raises(BatchError, match="--restart"):
        run(source, tmp_path / "out.csv")
    assert run(source, tmp_path / "out.csv", restart=True).rows == ROWS + 1


def test_files_at_a_url_are_read_and_written_there(home: Home, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    frame = rows_of(120)
    for name, part in (("a.parquet", frame[:70]), ("deep/b.csv", frame[70:])):
        local = write(part, tmp_path / name.rpartition("/")[2])
        store.makedirs("/bucket/in/deep", exist_ok=True)
        store.put_file(str(local), f"/bucket/in/{name}")
    stated = {"model": "tiny", "chunk": 50, "copied": ["id"]}
    for output in ("memory://bucket/out.parquet", "memory://bucket/out"):
        request = BatchRequest(**stated, source="memory://bucket/in", output=output)  # type: ignore[arg-type]
        assert run_job(request, quiet=True).rows == 120
    with store.open("/bucket/out.parquet", "rb") as file:
        assert pd.read_parquet(file)["id"].astype(int).tolist() == list(range(120))
    assert sorted(store.find("/bucket/out")) == ["/bucket/out/a.parquet", "/bucket/out/deep/b.csv"]


def test_columns_of_other_types_are_read_or_refused(home: Home, tmp_path: Path) -> None:
    price = [Decimal("1.5"), None, Decimal(-2)]
    kinds = {
        "decimal": pa.array(price, pa.decimal128(10, 2)),
        "codes": pa.array(["1.5", "", "x"]).dictionary_encode(),
        "whole": pa.array([1, None, 3], pa.uint8()),
        "flag": pa.array([True, False, None]),
        "null": pa.nulls(3),
    }
    colour = pa.array(["red", None, "blue"]).dictionary_encode()
    for name, column in kinds.items():
        pq.write_table(pa.table({"price": column, "colour": colour}), tmp_path / f"{name}.parquet")
        done = run(tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv", copied=["price"])
        assert (done.rows, done.rejected) == (3, 1 if name == "codes" else 0)
    lists = pa.table({"price": pa.array([[1.0]]), "colour": pa.array(["red"])})
    pq.write_table(lists, tmp_path / "list.parquet")
    with pytest.raises(BatchError, match="column 'price' contains list"):
        run(tmp_path / "list.parquet", tmp_path / "list.csv")


def test_the_event_of_a_chunk_counts_missing_unseen_and_outside_values(
    home: Home, tmp_path: Path
) -> None:
    frame = rows_of(60)
    frame["price"] = frame["price"].clip(-1, 1)
    frame.loc[:4, "price"] = 1e6
    frame.loc[5:6, "price"] = None
    frame.loc[10:12, "colour"] = "ultraviolet"
    missing = int(frame["colour"].isna().sum())
    output = tmp_path / "out.parquet"
    run(write(frame, tmp_path / "in.parquet"), output)
    found = read(output)
    counts: dict[str, Counter[str]] = {}
    for event in events(home, str(found["prediction_id"][0]).rpartition("-")[0]):
        for name, values in event.counts.items():
            counts.setdefault(name, Counter()).update(values)
    assert counts["price"] == {"outside": 5, "missing": 2}
    assert counts["colour"] == {"outside": 3, "missing": missing}
    labels = Counter(str(one) for one in found["prediction"].dropna().astype(int))
    assert counts["prediction"] == labels
