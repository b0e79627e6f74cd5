"""Statements on daily counts of batch-scored rows; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

OF_DAY = Query(
    sqlite=Compiled('SELECT batch_days.body FROM batch_days WHERE batch_days.model = ? AND batch_days.version = ? AND batch_days.start = ?', ('model', 'version', 'start')),
    postgresql=Compiled('SELECT batch_days.body FROM batch_days WHERE batch_days.model = %s::VARCHAR COLLATE "C" AND batch_days.version = %s::VARCHAR COLLATE "C" AND batch_days.start = %s::BIGINT', ('model', 'version', 'start')),
)
NEWEST = Query(
    sqlite=Compiled('SELECT batch_days.start, batch_days.body FROM batch_days WHERE batch_days.model = ? AND batch_days.version = ? ORDER BY batch_days.start DESC LIMIT ? OFFSET ?', ('model', 'version', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT batch_days.start, batch_days.body FROM batch_days WHERE batch_days.model = %s::VARCHAR COLLATE "C" AND batch_days.version = %s::VARCHAR COLLATE "C" ORDER BY batch_days.start DESC LIMIT %s::BIGINT', ('model', 'version', 'limit')),
)
SINCE = Query(
    sqlite=Compiled('SELECT batch_days.model, batch_days.version, batch_days.body FROM batch_days WHERE batch_days.start >= ? ORDER BY batch_days.model, batch_days.version, batch_days.start', ('start',)),
    postgresql=Compiled('SELECT batch_days.model, batch_days.version, batch_days.body FROM batch_days WHERE batch_days.start >= %s::BIGINT ORDER BY batch_days.model, batch_days.version, batch_days.start', ('start',)),
)
SAVE = RowQuery(
    columns=('model', 'version', 'start', 'body'),
    sqlite=Compiled('INSERT INTO batch_days (model, version, start, body) VALUES (?, ?, ?, ?) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    postgresql=Compiled('INSERT INTO batch_days (model, version, start, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_batch_days_save ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, body BYTEA )',
        copy='COPY staged_batch_days_save FROM STDIN',
        run=Compiled('INSERT INTO batch_days (model, version, start, body) SELECT staged_batch_days_save.model, staged_batch_days_save.version, staged_batch_days_save.start, staged_batch_days_save.body FROM staged_batch_days_save ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_batch_days_save',
    ),
)
DELETE_BEFORE = Query(
    sqlite=Compiled('DELETE FROM batch_days WHERE batch_days.model = ? AND batch_days.version = ? AND batch_days.start < ?', ('model', 'version', 'until')),
    postgresql=Compiled('DELETE FROM batch_days WHERE batch_days.model = %s::VARCHAR COLLATE "C" AND batch_days.version = %s::VARCHAR COLLATE "C" AND batch_days.start < %s::BIGINT', ('model', 'version', 'until')),
)
