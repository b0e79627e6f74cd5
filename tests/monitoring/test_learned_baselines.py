"""A version without a reference learns its baseline from its first windows."""

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventlog.log import Record
from monitoring.baselines.files import BaselineFiles
from monitoring.errors import MissingBaseline
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import DatabaseAddress
from monitoring.storage.store import Store
from registry.baselines import BaselineRecord, RecordedBaseline
from registry.history.rows import HistoryRow
from registry.manifest import BaselinePolicy, Version
from tests.monitoring.image_model import MANIFEST, image_version, of_image
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    FakeScorer,
    History,
    Log,
    Monitor,
    everything,
    ticking,
)


class _Scorer(FakeScorer):
    """Reports no scores while the baseline is learned."""

    def submit(self, job: ScoreJob) -> None:
        super().submit(job)
        if job.learning:
            self._replies[-1] = ScoreReply(key=job.key, scores=[])


Announced = list[tuple[str, BaselineRecord]]


def _version(folder: Path, windows: int = 3, min_rows: int = 100) -> Version:
    monitoring = replace(MANIFEST.monitoring, baseline=BaselinePolicy(windows, min_rows))
    folder.mkdir(exist_ok=True)
    return image_version(folder, replace(MANIFEST, monitoring=monitoring))


def _log(*hours: int) -> list[Record]:
    """Return so many rows in each hour; the brightness of each row is its hour."""
    log = Log()
    for hour, rows in enumerate(hours):
        for n in range(rows):
            values = of_image(float(hour), n / 10, None if n % 2 else 1.0)
            log.predict(T0 + hour * HOUR + n, f"{hour}-{n}", **values)
    log.pass_time(T0 + len(hours) * HOUR + HOUR // 2)
    return log.records


def _verdicts(where: DatabaseAddress) -> list[str]:
    return [result.verdict for result in Store(where).results("tiny", "1")]


def test_first_windows_with_enough_rows_become_the_baseline(tmp_path: Path) -> None:
    where, scorer, files = tmp_path / "m.db", _Scorer(), BaselineFiles(tmp_path / "baselines")
    announced: Announced = []
    version = _version(tmp_path / "version")
    Monitor(
        where,
        _log(60, 0, 20, 50, 60, 60),
        scorer=scorer,
        find=lambda *_: version,
        baselines=files,
        announce=lambda of, record: announced.append((of.number, record)),
    ).drain()
    assert [job.learning for job in scorer.jobs] == [True, True, True, False, False]
    assert _verdicts(where)[:4] == ["learning"] * 4, "an hour without rows is learning, too"
    ((number, record),) = announced
    assert number == "1"
    assert (record.origin, record.rows) == ("learned", 130)
    assert record.windows == [T0, T0 + 2 * HOUR, T0 + 3 * HOUR]
    assert (record.start, record.end) == (T0, T0 + 4 * HOUR)
    assert [job.baseline for job in scorer.jobs] == [None] * 3 + [record] * 2
    rows = files.read(record.digest)
    assert list(rows.columns) == ["image brightness", "image contrast", "embedding norm"]
    assert rows["image brightness"].value_counts().to_dict() == {0.0: 60, 3.0: 50, 2.0: 20}
    assert rows["embedding norm"].isna().sum() == 65
    first = Store(where).results("tiny", "1")[0]
    (learned,) = [score for score in first.scores if score.name == "learned_rows"]
    assert (learned.value, learned.threshold, learned.note) == (60.0, 100.0, "window 1 of 3")


def test_learning_continues_until_the_baseline_has_enough_rows(tmp_path: Path) -> None:
    scorer, version = _Scorer(), _version(tmp_path / "version", windows=2, min_rows=150)
    files = BaselineFiles(tmp_path / "baselines")
    Monitor(
        tmp_path / "m.db",
        _log(60, 60, 60, 60),
        scorer=scorer,
        find=lambda *_: version,
        baselines=files,
    ).drain()
    assert [job.learning for job in scorer.jobs] == [True, True, True, False]


@pytest.mark.parametrize("seed", range(2))
def test_monitor_killed_at_any_statement_learns_the_same_baseline(
    where: DatabaseAddress, seed: int, tmp_path: Path
) -> None:
    records, version = _log(50, 40, 45, 30, 41, 20), _version(tmp_path / "version")
    calm, calmly = tmp_path / "calm.db", BaselineFiles(tmp_path / "calm")
    Monitor(calm, records, scorer=_Scorer(), find=lambda *_: version, baselines=calmly).drain()
    chance, deaths, files = random.Random(seed), 0, BaselineFiles(tmp_path / "killed")
    for _ in range(6):
        monitor = Monitor(where, records, chance, _Scorer(), lambda *_: version, baselines=files)
        deaths += monitor.dies(chance.randrange(1, 90), chance.choice([2, 15, 60]))
    assert deaths > 1
    announced: Announced = []
    Monitor(
        where,
        records,
        chance,
        _Scorer(),
        find=lambda *_: version,
        baselines=files,
        announce=lambda of, record: announced.append((of.number, record)),
    ).drain()
    assert everything(where) == everything(calm)
    names = [[path.name for path in (tmp_path / name).iterdir()] for name in ("calm", "killed")]
    assert names[0] == names[1] == [f"{announced[0][1].digest}.parquet"]


def test_chosen_baseline_applies_to_later_windows(tmp_path: Path) -> None:
    version, scorer, history = _version(tmp_path / "version", windows=1), _Scorer(), History()
    record = BaselineRecord(origin="chosen", digest="c" * 64, start=T0, end=T0 + HOUR, rows=200)
    row = HistoryRow(9, "tiny", "baseline", "1", T0 + 2 * HOUR, "ada")
    history.chosen.append(RecordedBaseline(row, record))
    Monitor(
        tmp_path / "m.db",
        _log(110, 20, 20, 20),
        scorer=scorer,
        find=lambda *_: version,
        policies=ticking(history),
        baselines=BaselineFiles(tmp_path / "baselines"),
    ).drain()
    found = [job.baseline and job.baseline.origin for job in scorer.jobs]
    assert found == [None, "learned", "learned", "chosen"]


def test_labels_of_a_version_without_a_label_are_unexpected(tmp_path: Path) -> None:
    version, scorer, log = _version(tmp_path / "version"), _Scorer(), Log()
    log.tell("p0", 1.0)
    for n in range(60):
        log.predict(T0 + n, f"p{n}", **of_image(1.0, 1.0, 1.0))
    log.tell("p1", 1.0)
    log.pass_time(T0 + 9 * HOUR)
    where = tmp_path / "m.db"
    Monitor(where, log.records, scorer=scorer, find=lambda *_: version).drain()
    assert len(scorer.jobs) == 1, "no revision for labels"
    assert Store(where).results("tiny", "1")[0].labelled == 0
    assert Store(where).totals()["unexpected_labels"] == 2


def test_damaged_baseline_file_is_refused(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path / "baselines")
    columns = {"image brightness": [1.0, None, "Infinity"], "label": [None] * 3}
    digest = files.write(MANIFEST, columns)
    assert files.write(MANIFEST, columns) == digest
    assert list(files.read(digest).columns) == ["image brightness"]
    (tmp_path / "baselines" / f"{digest}.parquet").write_bytes(b"other")
    with pytest.raises(MissingBaseline, match="does not match"):
        files.read(digest)
    with pytest.raises(MissingBaseline, match="driftline baseline"):
        files.read("0" * 64)
