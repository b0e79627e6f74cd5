"""Statements on answered rows and on labels that came before their prediction."""

from sqlalchemy import (
    BigInteger,
    Delete,
    Select,
    bindparam,
    delete,
    func,
    literal_column,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from monitoring.storage.schema import early_labels as labels
from monitoring.storage.schema import horizons
from monitoring.storage.schema import predictions as rows
from monitoring.storage.statements import LIMIT, Given, OneOfMany, RowChange, RowInsert, values_of

_IN_SAMPLE = rows.c.body.is_not(None)
_OF_VERSION = (rows.c.model == bindparam("model"), rows.c.version == bindparam("version"))
_BEFORE = rows.c.start < bindparam("until")
_OF_WINDOW = (
    *_OF_VERSION,
    rows.c.start >= bindparam("start"),
    rows.c.start < bindparam("end"),
    _IN_SAMPLE,
)

ADD = RowInsert(rows, keep=True)
LABEL = RowChange(
    values_of(rows, "label", "prediction_id", "row"),
    lambda given: (
        update(rows)
        .values(label=given["label"])
        .where(rows.c.prediction_id == given["prediction_id"], rows.c.row == given["row"])
    ),
)
EVICT = RowChange(
    values_of(rows, "model", "version", "start", "hash"),
    lambda given: (
        update(rows)
        .values(body=null())
        .where(
            *_of_version(given),
            rows.c.start == given["start"],
            rows.c.hash == given["hash"],
            _IN_SAMPLE,
        )
    ),
)
EVICT_ABOVE = RowChange(
    values_of(rows, "model", "version")
    | {"begin": rows.c.start, "end": rows.c.start, "hash": rows.c.hash},
    lambda given: (
        update(rows)
        .values(body=null())
        .where(
            *_of_version(given),
            rows.c.start >= given["begin"],
            rows.c.start < given["end"],
            rows.c.hash > given["hash"],
            _IN_SAMPLE,
        )
    ),
)
KNOWN = OneOfMany(
    select(
        rows.c.prediction_id,
        rows.c.row,
        rows.c.model,
        rows.c.version,
        rows.c.start,
        rows.c.hash,
        rows.c.label,
        rows.c.time,
        rows.c.predicted,
    ),
    rows.c.prediction_id,
)
SAMPLED_HASHES = select(rows.c.hash).where(*_OF_WINDOW)
SAMPLE = (
    select(rows.c.body, rows.c.label, rows.c.time, rows.c.prediction_id, rows.c.row)
    .where(*_OF_WINDOW)
    .order_by(rows.c.hash)
)


def _smallest() -> Select[bytes]:
    kept = (
        select(rows.c.body, rows.c.time, rows.c.prediction_id, rows.c.row)
        .where(*_OF_WINDOW)
        .order_by(rows.c.hash)
        .limit(LIMIT)
        .subquery("kept")
    )
    return select(kept.c.body).order_by(kept.c.time, kept.c.prediction_id, kept.c.row)


def _of_version(given: Given) -> tuple[ColumnElement[bool], ...]:
    return rows.c.model == given["model"], rows.c.version == given["version"]


def _sweep(which: ColumnElement[bool]) -> Delete:
    key = rows.c.prediction_id, rows.c.row
    some = select(*key).where(*_OF_VERSION, _BEFORE, which).limit(LIMIT)
    return delete(rows).where(tuple_(*key).in_(some))


SMALLEST = _smallest()
SWEEP_ROWS = _sweep(rows.c.body.is_(None))
SWEEP_SAMPLES = _sweep(_IN_SAMPLE)

EARLY_UNTIL = select(horizons.c.until).where(horizons.c.name == literal_column("'early_labels'"))
ANY_EARLY = select(literal_column("1", BigInteger)).select_from(labels).limit(literal_column("1"))
EARLY = OneOfMany(
    select(labels.c.prediction_id, labels.c.row, labels.c.label, labels.c.time, labels.c.received),
    labels.c.prediction_id,
)
COUNT_EARLY = (
    select(func.count())
    .select_from(labels)
    .where(labels.c.received >= bindparam("since"), labels.c.received < bindparam("until"))
)
COUNT_WAITING_EARLY = (
    select(func.count())
    .select_from(labels)
    .where(labels.c.received >= func.coalesce(EARLY_UNTIL.scalar_subquery(), literal_column("0")))
)
ADD_EARLY = RowInsert(labels, "prediction_id", "row", "label", "time", "received")
DELETE_EARLY = RowChange(
    values_of(labels, "prediction_id"),
    lambda given: delete(labels).where(labels.c.prediction_id == given["prediction_id"]),
)
SWEEP_EARLY = delete(labels).where(
    tuple_(labels.c.prediction_id, labels.c.row).in_(
        select(labels.c.prediction_id, labels.c.row)
        .where(labels.c.received < bindparam("until"))
        .limit(LIMIT)
    )
)
