"""Statements on predicted rows and on labels that came before their prediction."""

from sqlalchemy import (
    BigInteger,
    Delete,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from monitoring.storage.schema import early_labels as labels
from monitoring.storage.schema import horizons
from monitoring.storage.schema import predictions as rows
from monitoring.storage.statements import (
    LIMIT,
    OneOfMany,
    RowChange,
    RowInsert,
    RowValues,
    values_of,
)

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
    lambda params: (
        update(rows)
        .values(label=params["label"])
        .where(rows.c.prediction_id == params["prediction_id"], rows.c.row == params["row"])
    ),
)
EVICT = RowChange(
    values_of(rows, "model", "version", "start", "hash"),
    lambda params: (
        update(rows)
        .values(body=null())
        .where(
            *_of_version(params),
            rows.c.start == params["start"],
            rows.c.hash == params["hash"],
            _IN_SAMPLE,
        )
    ),
)
EVICT_ABOVE = RowChange(
    values_of(rows, "model", "version")
    | {"begin": rows.c.start, "end": rows.c.start, "hash": rows.c.hash},
    lambda params: (
        update(rows)
        .values(body=null())
        .where(
            *_of_version(params),
            rows.c.start >= params["begin"],
            rows.c.start < params["end"],
            rows.c.hash > params["hash"],
            _IN_SAMPLE,
        )
    ),
)
OF_ID = OneOfMany(
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
    smallest = (
        select(rows.c.body, rows.c.time, rows.c.prediction_id, rows.c.row)
        .where(*_OF_WINDOW)
        .order_by(rows.c.hash)
        .limit(LIMIT)
        .subquery("kept")
    )
    return select(smallest.c.body).order_by(
        smallest.c.time, smallest.c.prediction_id, smallest.c.row
    )


def _of_version(params: RowValues) -> tuple[ColumnElement[bool], ...]:
    return rows.c.model == params["model"], rows.c.version == params["version"]


def _sweep(which: ColumnElement[bool]) -> Delete:
    key = rows.c.prediction_id, rows.c.row
    some = select(*key).where(*_OF_VERSION, _BEFORE, which).limit(LIMIT)
    return delete(rows).where(tuple_(*key).in_(some))


SMALLEST = _smallest()
SWEEP_ROWS = _sweep(rows.c.body.is_(None))
SWEEP_SAMPLES = _sweep(_IN_SAMPLE)

_PARTITION = bindparam("partition", type_=labels.c.partition.type)
# Marks labels of unknown partition: their id names no shard, and the partitions have changed since.
_ANYWHERE = literal_column("-1", BigInteger)
_SWEPT = or_(  # partition 0 also deletes the labels of unknown partition
    labels.c.partition == _PARTITION,
    and_(literal_column("0") == _PARTITION, labels.c.partition == _ANYWHERE),
)
_EARLY_HORIZON = horizons.c.name == literal_column("'early_labels'")
EARLY_UNTIL = select(horizons.c.until).where(_EARLY_HORIZON, horizons.c.partition == _PARTITION)
ANY_EARLY = (
    select(literal_column("1", BigInteger))
    .select_from(labels)
    .where(labels.c.partition.in_([_PARTITION, _ANYWHERE]))
    .limit(literal_column("1"))
)
EARLY = OneOfMany(
    select(
        labels.c.prediction_id,
        labels.c.row,
        labels.c.label,
        labels.c.time,
        labels.c.received,
        labels.c.partition,
    ),
    labels.c.prediction_id,
)
COUNT_EARLY = (
    select(func.count())
    .select_from(labels)
    .where(
        labels.c.partition == _PARTITION,
        labels.c.received >= bindparam("since"),
        labels.c.received < bindparam("until"),
    )
)
COUNT_WAITING_EARLY = (
    select(func.count())
    .select_from(labels)
    .where(
        labels.c.received
        >= func.coalesce(
            select(horizons.c.until)
            .where(_EARLY_HORIZON, horizons.c.partition == labels.c.partition)
            .scalar_subquery(),
            literal_column("0"),
        )
    )
)
ADD_EARLY = RowInsert(labels)
DELETE_EARLY = RowChange(
    values_of(labels, "prediction_id", "partition"),
    lambda params: delete(labels).where(
        labels.c.prediction_id == params["prediction_id"],
        labels.c.partition.in_([params["partition"], _ANYWHERE]),
    ),
)
SWEEP_EARLY = delete(labels).where(
    tuple_(labels.c.prediction_id, labels.c.row).in_(
        select(labels.c.prediction_id, labels.c.row)
        .where(_SWEPT, labels.c.received < bindparam("until"))
        .limit(LIMIT)
    )
)
