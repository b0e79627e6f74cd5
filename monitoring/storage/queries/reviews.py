"""Statements on the review queue: rows that people label."""

from sqlalchemy import and_, bindparam, delete, func, literal_column, or_, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from monitoring.storage.schema import review_leases as leases
from monitoring.storage.schema import review_periods as periods
from monitoring.storage.schema import review_rows as rows
from monitoring.storage.statements import (
    LIMIT,
    OneOfMany,
    RowChange,
    RowInsert,
    RowValues,
    values_of,
)

_OF_VERSION = (rows.c.model == bindparam("model"), rows.c.version == bindparam("version"))
_PICKED = rows.c.place.is_not(None)
_COLUMNS = (
    rows.c.model,
    rows.c.version,
    rows.c.prediction_id,
    rows.c.row,
    rows.c.body,
    rows.c.decision,
)


def _at(params: RowValues) -> tuple[ColumnElement[bool], ...]:
    return rows.c.prediction_id == params["prediction_id"], rows.c.row == params["row"]


ADD = RowInsert(rows, keep=True)
DROP = RowChange(
    values_of(rows, "prediction_id", "row"), lambda params: delete(rows).where(*_at(params))
)
PICK = RowChange(
    values_of(rows, "place", "body", "prediction_id", "row"),
    lambda params: (
        update(rows).values(place=params["place"], body=params["body"]).where(*_at(params))
    ),
)
DECIDE = RowChange(
    values_of(rows, "decision", "prediction_id", "row"),
    lambda params: update(rows).values(decision=params["decision"]).where(*_at(params)),
)
CANDIDATES = (
    select(rows.c.prediction_id, rows.c.row, rows.c.body)
    .where(*_OF_VERSION, rows.c.start == bindparam("start"), rows.c.place.is_(None))
    .order_by(rows.c.prediction_id, rows.c.row)
)
OF_ID = OneOfMany(select(*_COLUMNS).where(_PICKED), rows.c.prediction_id)
DECIDED = (
    select(*_COLUMNS)
    .where(
        *_OF_VERSION,
        rows.c.time >= bindparam("begin"),
        rows.c.time < bindparam("end"),
        rows.c.decision.is_not(None),
    )
    .order_by(rows.c.prediction_id, rows.c.row)
)
SWEEP = delete(rows).where(
    tuple_(rows.c.prediction_id, rows.c.row).in_(
        select(rows.c.prediction_id, rows.c.row)
        .where(*_OF_VERSION, rows.c.time < bindparam("until"))
        .limit(LIMIT)
    )
)

SAVE_PERIOD = RowInsert(periods, replace=["body"])
PERIODS = (
    select(periods.c.start, periods.c.body)
    .where(periods.c.model == bindparam("model"), periods.c.version == bindparam("version"))
    .order_by(periods.c.start)
)
DELETE_PERIOD = RowChange(
    values_of(periods, "model", "version", "start"),
    lambda params: delete(periods).where(
        periods.c.model == params["model"],
        periods.c.version == params["version"],
        periods.c.start == params["start"],
    ),
)

# Leases: a person reserves rows for a time, and can skip rows.

_HOLDER, _NOW = (
    bindparam("holder", type_=leases.c.holder.type),
    bindparam("now", type_=leases.c.until.type),
)
_IS_LEASED = leases.c.state == literal_column("'leased'")
_joined = rows.outerjoin(
    leases, and_(leases.c.prediction_id == rows.c.prediction_id, leases.c.row == rows.c.row)
)
_OPEN = (
    rows.c.model == bindparam("model"),
    _PICKED,
    # After an undo, a row is leased again, but keeps its decision until the undo is ingested.
    or_(and_(rows.c.decision.is_(None), leases.c.state.is_(None)), _IS_LEASED),
)
FREE = (  # open rows that nobody else has leased
    select(rows.c.prediction_id, rows.c.row)
    .select_from(_joined)
    .where(
        *_OPEN, or_(leases.c.until.is_(None), leases.c.until <= _NOW, leases.c.holder == _HOLDER)
    )
    .order_by(rows.c.start.desc(), rows.c.place, rows.c.prediction_id, rows.c.row)
    .limit(LIMIT)
)
LEASED_ROWS = (  # open rows that the holder has leased
    select(*_COLUMNS)
    .select_from(_joined)
    .where(*_OPEN, leases.c.holder == _HOLDER, leases.c.until > _NOW)
    .order_by(rows.c.start.desc(), rows.c.place, rows.c.prediction_id, rows.c.row)
    .limit(LIMIT)
)
OPEN = (  # picked rows without a decision, leased or not
    select(*_COLUMNS)
    .select_from(_joined)
    .where(*_OPEN)
    .order_by(rows.c.start.desc(), rows.c.place, rows.c.prediction_id, rows.c.row)
    .limit(LIMIT)
)
COUNT_OPEN = (
    select(rows.c.model, func.count()).select_from(_joined).where(*_OPEN[1:]).group_by(rows.c.model)
)
MODELS = select(rows.c.model, func.count()).where(_PICKED).group_by(rows.c.model)
PICKED = (
    select(*_COLUMNS)
    .where(rows.c.model == bindparam("model"), _PICKED)
    .order_by(rows.c.start.desc(), rows.c.place, rows.c.prediction_id, rows.c.row)
    .limit(LIMIT)
)
ADD_LEASE = RowInsert(leases, keep=True)
TAKE_LEASE = RowChange(
    values_of(leases, "holder", "until", "at", "prediction_id", "row"),
    lambda params: (
        update(leases)
        .values(holder=params["holder"], until=params["until"], at=params["at"])
        .where(
            leases.c.prediction_id == params["prediction_id"],
            leases.c.row == params["row"],
            _IS_LEASED,
            or_(leases.c.holder == params["holder"], leases.c.until <= params["at"]),
        )
    ),
)
LEASE = select(leases.c.holder, leases.c.until, leases.c.state, leases.c.why, leases.c.at).where(
    leases.c.prediction_id == bindparam("prediction_id"), leases.c.row == bindparam("row")
)
SAVE_LEASE = RowInsert(leases, replace=["holder", "until", "state", "why", "at"])
LAST_ACTION = (  # the row that the holder decided or skipped last
    select(leases.c.prediction_id, leases.c.row, leases.c.state)
    .select_from(
        leases.join(
            rows, and_(leases.c.prediction_id == rows.c.prediction_id, leases.c.row == rows.c.row)
        )
    )
    .where(
        rows.c.model == bindparam("model"),
        leases.c.holder == _HOLDER,
        leases.c.state != literal_column("'leased'"),
    )
    .order_by(leases.c.at.desc())
    .limit(LIMIT)
)
SWEEP_LEASES = delete(leases).where(  # leases whose row was deleted
    tuple_(leases.c.prediction_id, leases.c.row).in_(
        select(leases.c.prediction_id, leases.c.row)
        .select_from(
            leases.outerjoin(
                rows,
                and_(leases.c.prediction_id == rows.c.prediction_id, leases.c.row == rows.c.row),
            )
        )
        .where(rows.c.prediction_id.is_(None))
        .limit(LIMIT)
    )
)
