"""Sampled inputs of a window: deterministic, small and safe to display."""

import io
import random
import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from eventlog.events import Tensor
from eventlog.log import Record
from monitoring.baselines.files import BaselineFiles
from monitoring.ingest.logged_tensor import LARGEST_FILE, LONGEST_TEXT
from monitoring.samples import Sample
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.image_files import MOST_PIXELS, pictures
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from monitoring.windows.retention import Retention
from monitoring.windows.row_sample import row_hash
from registry.images import encode_png
from registry.manifest import (
    AlarmPolicy,
    BaselinePolicy,
    Manifest,
    Monitoring,
    PayloadPolicy,
    Signature,
    TensorSpec,
    Version,
    WindowPolicy,
)
from registry.sampled_tensors import SHOWN, shown_inputs, vector_column
from tests.monitoring.image_model import image_version
from tests.monitoring.log_in_memory import HOUR, T0, FakeScorer, Log, Monitor

POLICY = Monitoring(
    window=WindowPolicy(length=3600, grace=600, label_wait=3600, max_rows=5),
    alarms=AlarmPolicy(min_rows=5),
    baseline=BaselinePolicy(windows=100, min_rows=100_000),
)


def _manifest(*inputs: TensorSpec, **fields: Any) -> Manifest:
    found = Signature([*inputs], [TensorSpec("embedding", "FP32", [-1, 2])])
    return Manifest(**{"signature": found, "monitoring": POLICY, "summaries": []} | fields)


IMAGES = _manifest(TensorSpec("image", "FP32", [-1, 3, 8, 8]))
_FILE = Signature([TensorSpec("file", "UINT8", [-1])], [TensorSpec("embedding", "FP32", [2])])
FILES = _manifest(signature=_FILE)
TEXTS = _manifest(TensorSpec("text", "BYTES", [-1]))


class _Pictures(FakeScorer):
    """Renders the pictures and scores nothing."""

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        self._replies.append(ScoreReply(key=job.key, scores=[], pictures=pictures(job.files)))


def _image(value: float) -> Tensor:
    array = np.full((1, 3, 8, 8), value, "<f4")
    return Tensor("FP32", [1, 3, 8, 8], [], b64encode(array.tobytes()).decode())


def _bytes(data: bytes) -> Tensor:
    return Tensor("UINT8", [len(data)], [], b64encode(data).decode())


def _log(*inputs: dict[str, Tensor], **fields: Any) -> Log:
    log = Log()
    for n, tensors in enumerate(inputs):
        log.predict(T0 + n, f"p{n}", inputs=tensors, outputs={}, **fields)
    log.pass_time(T0 + 2 * HOUR)
    return log


def _monitored(
    where: DatabaseAddress, records: Sequence[Record], manifest: Manifest, limit: int = 1000
) -> list[Sample]:
    version = image_version(Path("nowhere"), manifest)
    monitor = Monitor(where, records, random.Random(3), scorer=_Pictures(), find=lambda *_: version)
    monitor.drain(limit)
    monitor.database.close()
    return _samples(where)


def _samples(where: DatabaseAddress) -> list[Sample]:
    store = Store(where)
    window = store.results("tiny", "1")[0].window
    found = store.samples("tiny", "1", window)
    store.close()
    return found


def test_window_samples_the_rows_with_the_smallest_hashes(where: DatabaseAddress) -> None:
    log = _log(*({"image": _image(n / 40)} for n in range(40)))
    found = _monitored(where, log.records, IMAGES)
    hashes = sorted(row_hash(f"s-0:1:{n}", 0) for n in range(40))
    assert [one.number for one in found] == hashes[:SHOWN]
    assert {one.form for one in found} == {"png"}
    assert Image.open(io.BytesIO(found[0].body)).size == (8, 8)


@pytest.mark.parametrize("by_rows", [False, True])
def test_samples_do_not_depend_on_steps_duplicates_or_restarts(
    tmp_path: Path, *, by_rows: bool
) -> None:
    window = replace(POLICY.window, rows=60, step=60) if by_rows else POLICY.window
    manifest = replace(IMAGES, monitoring=replace(POLICY, window=window))
    log = Log()
    for n in range(80):
        log.predict(T0 + n * HOUR // 100, f"p{n}", inputs={"image": _image(n / 80)}, outputs={})
    log.pass_time(T0 + 3 * HOUR)
    expected = _monitored(tmp_path / "whole.db", log.records, manifest)
    assert len(expected) == SHOWN
    assert _monitored(tmp_path / "steps.db", log.records, manifest, limit=7) == expected
    parts = tmp_path / "parts.db"
    version = image_version(Path("nowhere"), manifest)
    for end in (30, 61, len(log.records)):
        monitor = Monitor(parts, log.records[:end], scorer=_Pictures(), find=lambda *_: version)
        monitor.drain(11)
        monitor.database.close()
    assert _samples(parts) == expected


@pytest.mark.parametrize("rule", ["drop", "hmac"])
def test_inputs_masked_by_the_payload_policy_are_not_shown(rule: Any) -> None:
    assert shown_inputs(IMAGES)
    assert not shown_inputs(replace(IMAGES, payload=PayloadPolicy({"image": rule})))


def test_events_without_their_payload_are_not_sampled(tmp_path: Path) -> None:
    log = _log(*[{}] * 20, payload="digest")
    assert _monitored(tmp_path / "m.db", log.records, IMAGES) == []


def test_malformed_tensor_has_no_picture(tmp_path: Path) -> None:
    wrong = [
        Tensor("FP32", [1, 3, 8, 8], [], "AAAA"),
        Tensor("FP32", [1, 3, 8, 8], [], "no base64"),
        Tensor("FP32", [-1, 3], [1.0, "word", None]),
        Tensor("FP99", [1], [1]),
        Tensor("FP32", [1, 3, 8, 8], [None, "Infinity", "-Infinity", 0.5] * 48),
    ]
    log = _log(*({"image": one} for one in wrong))
    found = _monitored(tmp_path / "m.db", log.records, IMAGES)
    assert sorted(one.form for one in found) == ["none"] * 4 + ["png"]
    assert all(one.words.startswith("cannot be shown: ") for one in found if one.form == "none")


def _bomb() -> bytes:
    """Return a PNG of a few bytes that claims 6,000 x 6,000 pixels."""
    head = struct.pack(">IIBBBBB", 6_000, 6_000, 8, 2, 0, 0, 0)
    body = b"IHDR" + head
    chunk = struct.pack(">I", len(head)) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + encode_png(np.zeros((4, 4, 3), np.uint8))[33:]


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_encoded_images_become_thumbnails_and_hostile_images_have_none(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3)).astype(np.uint8)
    huge = encode_png(noise)
    assert len(huge) > LARGEST_FILE
    sent = [_jpeg(), encode_png(noise[:90, :120]), _jpeg()[:200], _bomb(), huge, b"RIFFxxxxWAVE"]
    log = _log(*({"file": _bytes(data)} for data in sent))
    found = {one.number: one for one in _monitored(tmp_path / "m.db", log.records, FILES)}
    jpeg, png, cut, bomb, large, audio = (found[row_hash(f"s-0:1:{n}", 0)] for n in range(6))
    assert Image.open(io.BytesIO(jpeg.body)).size == (64, 43)
    assert Image.open(io.BytesIO(jpeg.body)).getpixel((5, 5)) == pytest.approx((200, 30, 30), abs=9)
    assert Image.open(io.BytesIO(png.body)).size == (64, 48)
    assert (cut.form, bomb.form, large.form) == ("none", "none", "none")
    assert "6000 x 6000 pixels" in bomb.words
    assert "too many to be shown" in large.words
    assert (audio.form, audio.words) == ("none", "")
    assert MOST_PIXELS < 6_000**2


def test_texts_are_truncated(tmp_path: Path) -> None:
    texts = ["short", "x" * 5_000, "<script>alert(1)</script>", ""]
    log = _log(*({"text": Tensor("BYTES", [1], [text])} for text in texts))
    found = _monitored(tmp_path / "m.db", log.records, TEXTS)
    cut = f"{'x' * LONGEST_TEXT}…"
    assert {one.words for one in found} == {"short", cut, "<script>alert(1)</script>", ""}


def test_samples_expire_with_the_rows_of_their_window(tmp_path: Path) -> None:
    log, where = Log(), tmp_path / "m.db"
    for hour in range(40):
        log.predict(T0 + hour * HOUR, f"p{hour}", inputs={"image": _image(0.5)}, outputs={})
    version: Version = image_version(tmp_path, IMAGES)
    kept = Retention(late_days=0.1, samples_days=0.25)
    monitor = Monitor(
        where, log.records, scorer=_Pictures(), find=lambda *_: version, retention=kept
    )
    monitor.drain(1)
    left = monitor.database.all("SELECT start FROM samples")
    rows = monitor.database.all("SELECT start FROM predictions WHERE body IS NOT NULL")
    monitor.database.close()
    assert sorted(left) == sorted(rows)
    assert 0 < len(left) < 30
    store = Store(where)
    windows = [result.window for result in store.results("tiny", "1")]
    assert store.samples("tiny", "1", windows[0]) == []
    assert store.samples("tiny", "1", windows[-1]) != []
    store.close()


VECTORS = _manifest(
    TensorSpec("image", "FP32", [-1, 3, 8, 8]),
    monitoring=replace(POLICY, embedding_drift={"embedding": "distance"}),
)


def _vector(*values: Any) -> dict[str, Tensor]:
    return {"embedding": Tensor("FP32", [1, 2], list(values))}


def test_vectors_with_embedding_drift_are_sampled_and_scored(where: DatabaseAddress) -> None:
    log = Log()
    for n in range(30):
        log.predict(T0 + n, f"p{n}", inputs={}, outputs=_vector(float(n), 0.5))
    log.predict(T0 + 30, "odd", inputs={}, outputs=_vector(None, 0.5))
    log.pass_time(T0 + 2 * HOUR)
    version, scorer = image_version(Path("nowhere"), VECTORS), _Pictures()
    monitor = Monitor(where, log.records, scorer=scorer, find=lambda *_: version)
    monitor.drain(7)
    monitor.database.close()
    (job,) = scorer.jobs
    order = sorted(range(30), key=lambda n: row_hash(f"s-0:1:{n}", 0))
    expected = [np.array([n, 0.5], "<f4").tobytes() for n in order]
    assert job.vectors == {"embedding": expected}
    (odd,) = [one for one in _samples(where) if one.form == "none"]
    assert "not every number is finite" in odd.words


def test_learned_baseline_contains_its_vectors(tmp_path: Path) -> None:
    learning = replace(VECTORS.monitoring, baseline=BaselinePolicy(windows=1, min_rows=100))
    learning = replace(learning, window=replace(POLICY.window, max_rows=200))
    log, files = Log(), BaselineFiles(tmp_path / "baselines")
    for n in range(240):
        log.predict(T0 + n * HOUR // 120, f"p{n}", inputs={}, outputs=_vector(float(n), 1.0))
    log.pass_time(T0 + 4 * HOUR)
    version = image_version(tmp_path, replace(VECTORS, monitoring=learning))
    scorer = _Pictures()
    monitor = Monitor(
        tmp_path / "m.db", log.records, scorer=scorer, find=lambda *_: version, baselines=files
    )
    monitor.drain()
    monitor.database.close()
    record = scorer.jobs[1].baseline
    assert record is not None
    column = files.read(record.digest)[vector_column("embedding")]
    assert sorted(one[0] for one in column.dropna()) == [float(n) for n in range(120)]


def test_samples_table_exists_after_migration(where: DatabaseAddress) -> None:
    database = Database(where)
    assert database.all("SELECT * FROM samples") == []
    database.close()
