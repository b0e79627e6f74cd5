"""Rows are picked when their period ends, and reviewers' decisions become weighted labels."""

import io
from pathlib import Path

import httpx
import pandas as pd
import pytest

from eventlog.events import Tensor
from monitoring.results import Delivery, Result, RetrainRequest, Window
from monitoring.reviews.rows import PickedRow
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from monitoring.storage.reviews import read_picked
from monitoring.storage.sql import reviews as queries
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.webhooks.body import envelope
from monitoring.windows.grid import END_OF_TIME
from tests.monitoring.log_in_memory import HOUR, T0, Log, Monitor


def _answers(label: int, certain: float) -> dict[str, Tensor]:
    other = [1 - certain, certain] if label else [certain, 1 - certain]
    return {
        "label": Tensor("INT64", [1], [label]),
        "probabilities": Tensor("FP32", [1, 2], other),
    }


def _traffic(rows: int = 60) -> Log:
    """Return an hour of rows, every third uncertain, and the events that end the hour."""
    log = Log()
    for n in range(rows):
        log.predict(T0 + n, f"a{n}", outputs=_answers(n % 2, 0.51 if n % 3 == 0 else 0.99))
    log.pass_time(T0 + 2 * HOUR)
    return log


def _picked(where: DatabaseAddress) -> list[PickedRow]:
    database = Database(where)
    try:
        return read_picked(database.all(queries.PICKED, model="tiny", limit=END_OF_TIME))
    finally:
        database.close()


def _first(where: DatabaseAddress) -> Result:
    return Store(where).results("tiny", "1")[0]


def test_rows_are_picked_within_the_budget_after_their_period_ended(
    where: DatabaseAddress,
) -> None:
    log = _traffic()
    Monitor(where, log.records[:40]).drain()
    assert _picked(where) == []
    Monitor(where, log.records).drain(limit=7)
    picked = _picked(where)
    assert 7 <= len(picked) <= 10
    assert all(0 < one.stored.inclusion <= 1 for one in picked)
    uncertain = [one for one in picked if "uncertain" in one.stored.parts]
    assert sum(one.stored.margin < 0.1 for one in uncertain if one.stored.margin) >= 4
    assert _stored(where) == (len(picked), 0)


def _stored(where: DatabaseAddress) -> tuple[object, ...]:
    database = Database(where)
    try:
        ((rows,),) = database.all("SELECT count(*) FROM review_rows")
        ((periods,),) = database.all("SELECT count(*) FROM review_periods")
    finally:
        database.close()
    return rows, periods


def test_review_labels_are_weighted_by_inclusion_probability(tmp_path: Path) -> None:
    where, log = tmp_path / "m.db", _traffic()
    Monitor(where, log.records).drain()
    picked = _picked(where)
    for one in picked:
        log.review(one.joined_by, "accept", one.stored.predicted)
    log.review(picked[-1].joined_by, "undo", 1)
    log.review(picked[-1].joined_by, "accept", picked[-1].stored.predicted)
    monitor = Monitor(where, log.records)
    monitor.drain()
    result = _first(where)
    assert len(picked) - 4 <= result.reviewed <= len(picked)
    assert result.labelled == 0
    weights = monitor.scorer.jobs[-1].review_weights
    assert len(weights) == result.reviewed
    assert sum(sum(row.values()) for row in result.confusion.values()) == pytest.approx(
        sum(weights), abs=0.01
    )
    assert 1 <= sum(weights) <= len(picked)
    assert Journal(Database(where)).reviews.find((picked[0].joined_by, 0)) is not None
    log.review(picked[0].joined_by, "undo", 1)
    Monitor(where, log.records).drain()
    decided = [one for one in _picked(where) if one.label is not None]
    assert len(decided) == len(picked) - 1
    (undone,) = [one for one in _picked(where) if one.decision and one.label is None]
    assert undone.decision is not None
    assert (undone.decision.actor, undone.decision.why) == ("key:ann", "looked at it")


@pytest.mark.parametrize("caller_first", [True, False])
def test_correction_supersedes_the_callers_label_and_counts_once(
    tmp_path: Path, *, caller_first: bool
) -> None:
    where, log = tmp_path / "m.db", _traffic()
    Monitor(where, log.records).drain()
    one = _picked(where)[0]
    wrong = 1 - one.stored.predicted
    if caller_first:
        log.tell(one.joined_by, wrong)
    log.review(one.joined_by, "correct", one.stored.predicted)
    if not caller_first:
        log.tell(one.joined_by, wrong)
    log.pass_time(T0 + 5 * HOUR)  # labels are no longer awaited
    monitor = Monitor(where, log.records)
    monitor.drain()
    result = _first(where)
    assert (result.reviewed, result.labelled) == (0, 1)
    predicted = str(one.stored.predicted)
    assert result.confusion == {predicted: {predicted: 1}}
    job = [one for one in monitor.scorer.jobs if one.window.start == T0][-1]
    assert job.answers is not None
    assert job.answers.confusion.cells == result.confusion
    assert not job.review_weights


def test_decisions_on_rows_that_were_not_picked_change_nothing(tmp_path: Path) -> None:
    where, log = tmp_path / "m.db", _traffic()
    log.review("a0", "accept", 1)
    log.review("nobody", "accept", 1)
    Monitor(where, log.records).drain()
    picked = {one.joined_by for one in _picked(where)}
    rest = next(f"a{n}" for n in range(60) if f"a{n}" not in picked)
    log.review(rest, "correct", 0)
    Monitor(where, log.records).drain()
    assert _first(where).reviewed <= 1
    assert Store(where).totals()["unknown_reviews"] >= 1


class _RequestedStore(Store):
    """A store with a retraining request for the first hour."""

    def deliveries(self) -> list[Delivery]:
        request = RetrainRequest(
            model="tiny", version="1", digest="d", rule="schedule", reason="", columns=[],
            positions={}, rows_url="", register_hint="", period=Window(T0, T0 + HOUR),
        )  # fmt: skip
        body = envelope("rr_1", 1, request)
        return [Delivery(webhook_id="rr_1", body=body, created=1)]


def test_retraining_rows_are_weighted_by_inclusion_probability(
    tmp_path: Path,
) -> None:
    where, log = tmp_path / "m.db", _traffic()
    Monitor(where, log.records).drain()
    picked = _picked(where)
    for one in picked:
        log.review(one.joined_by, "accept", one.stored.predicted)
    monitor = Monitor(where, log.records)
    monitor.drain()
    made = app(lambda: _RequestedStore(where), tmp_path)
    with serving(made, "127.0.0.1", 0) as address:
        reply = httpx.get(f"{address}/api/retraining/rr_1/rows.parquet", trust_env=False)
    rows = pd.read_parquet(io.BytesIO(reply.raise_for_status().content))
    labelled = rows[rows["label"].notna()]
    inclusions = sorted(one.stored.inclusion for one in picked)
    assert len(labelled) == len(picked)
    assert len(set(inclusions)) > 1, "certain and uncertain rows are picked differently"
    # A label stands for 1 / inclusion rows: the products are equal among labels of the queue.
    products = [w * i for w, i in zip(sorted(labelled["weight"])[::-1], inclusions, strict=True)]
    assert products == pytest.approx([products[0]] * len(products), rel=1e-3)
    assert rows["weight"].sum() == pytest.approx(_first(where).rows)
