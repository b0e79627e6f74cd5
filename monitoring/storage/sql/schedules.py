"""Statements on the progress of retraining schedules; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

ALL = Query(
    sqlite=Compiled('SELECT schedules.model, schedules.body FROM schedules ORDER BY schedules.model'),
    postgresql=Compiled('SELECT schedules.model, schedules.body FROM schedules ORDER BY schedules.model'),
)
OF_MODEL = Query(
    sqlite=Compiled('SELECT schedules.body FROM schedules WHERE schedules.model = ?', ('model',)),
    postgresql=Compiled('SELECT schedules.body FROM schedules WHERE schedules.model = %s::VARCHAR COLLATE "C"', ('model',)),
)
SAVE = RowQuery(
    columns=('model', 'body'),
    sqlite=Compiled('INSERT INTO schedules (model, body) VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET body = excluded.body', ('model', 'body')),
    postgresql=Compiled('INSERT INTO schedules (model, body) VALUES (%s::VARCHAR COLLATE "C", %s) ON CONFLICT (model) DO UPDATE SET body = excluded.body', ('model', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_schedules_save ( model TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_schedules_save FROM STDIN',
        run=Compiled('INSERT INTO schedules (model, body) SELECT staged_schedules_save.model, staged_schedules_save.body FROM staged_schedules_save ON CONFLICT (model) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_schedules_save',
    ),
)
