"""Statements on sampled rows of tensors."""

from sqlalchemy import bindparam, delete, literal_column, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from monitoring.storage.schema import samples
from monitoring.storage.statements import LIMIT, RowChange, RowInsert, RowValues, values_of

_OF_VERSION = (samples.c.model == bindparam("model"), samples.c.version == bindparam("version"))
_OF_WINDOW = (
    *_OF_VERSION,
    samples.c.start >= bindparam("start"),
    samples.c.start < bindparam("end"),
)
_PLACE = ("model", "version", "start", "tensor", "hash")
_KEY = [*samples.primary_key]


def _at(params: RowValues) -> list[ColumnElement[bool]]:
    return [samples.c[name] == params[name] for name in _PLACE]


ADD = RowInsert(samples, keep=True)
EVICT = RowChange(values_of(samples, *_PLACE), lambda params: delete(samples).where(*_at(params)))
EVICT_ABOVE = delete(samples).where(
    *_OF_WINDOW, samples.c.tensor == bindparam("tensor"), samples.c.hash > bindparam("largest")
)
REPLACE = RowChange(
    values_of(samples, "form", "body", *_PLACE),
    lambda params: (
        update(samples).values(form=params["form"], body=params["body"]).where(*_at(params))
    ),
)
HASHES = select(samples.c.hash).where(*_OF_WINDOW, samples.c.tensor == bindparam("tensor"))
OF_WINDOW = (
    select(samples.c.tensor, samples.c.hash, samples.c.start, samples.c.form, samples.c.body)
    .where(*_OF_WINDOW)
    .order_by(samples.c.tensor, samples.c.hash)
)
FILES = OF_WINDOW.where(samples.c.form == literal_column("'file'"))
VECTORS = (
    OF_WINDOW.where(samples.c.form == literal_column("'vector'"))
    .where(samples.c.tensor == bindparam("tensor"))
    .limit(LIMIT)
)
SWEEP = delete(samples).where(
    tuple_(*_KEY).in_(
        select(*_KEY).where(*_OF_VERSION, samples.c.start < bindparam("until")).limit(LIMIT)
    )
)
