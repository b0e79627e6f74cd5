"""Statements on scorings and on the results of closed windows."""

from sqlalchemy import bindparam, delete, func, select

from monitoring.storage.schema import closed, jobs, results
from monitoring.storage.statements import LIMIT, RowInsert

_OF_VERSION = (results.c.model == bindparam("model"), results.c.version == bindparam("version"))
_START = bindparam("start", type_=results.c.start.type)
_newest, _revision = results.alias("newest"), results.alias("revisions")

NEWEST = (  # the newest revisions of the last windows
    select(_newest.c.body)
    .where(
        _newest.c.model == bindparam("model"),
        _newest.c.version == bindparam("version"),
        _newest.c.start < bindparam("before"),
        _newest.c.revision
        == select(func.max(_revision.c.revision))
        .where(
            _revision.c.model == _newest.c.model,
            _revision.c.version == _newest.c.version,
            _revision.c.start == _newest.c.start,
        )
        .scalar_subquery(),
    )
    .order_by(_newest.c.start.desc())
    .limit(LIMIT)
)
LATEST = (  # the newest revision of one window
    select(results.c.body)
    .where(*_OF_VERSION, results.c.start == _START)
    .order_by(results.c.revision.desc())
    .limit(1)
)
START_BEFORE = select(func.max(results.c.start)).where(*_OF_VERSION, results.c.start < _START)
START_AFTER = select(func.min(results.c.start)).where(*_OF_VERSION, results.c.start > _START)
SAVE = RowInsert(results, replace=["body"])
DELETE_REVISIONS = delete(results).where(
    *_OF_VERSION, results.c.start == _START, results.c.revision < bindparam("revision")
)
DELETE_BEFORE = delete(results).where(*_OF_VERSION, results.c.start < bindparam("until"))

CLOSED = select(closed.c.body).where(
    closed.c.model == bindparam("model"), closed.c.version == bindparam("version")
)
SAVE_CLOSED = RowInsert(closed, replace=["body"])

_OF_PARTITION = jobs.c.partition == bindparam("partition", type_=jobs.c.partition.type)

JOB_SIZES = (
    select(jobs.c.number, func.length(jobs.c.body)).where(_OF_PARTITION).order_by(jobs.c.number)
)
LAST_JOB = select(func.max(jobs.c.number)).where(_OF_PARTITION)
JOB = select(jobs.c.body).where(_OF_PARTITION, jobs.c.number == bindparam("number"))
COUNT_JOBS = select(func.count()).select_from(jobs)
ADD_JOB = RowInsert(jobs)
DELETE_JOB = delete(jobs).where(_OF_PARTITION, jobs.c.number == bindparam("number"))
