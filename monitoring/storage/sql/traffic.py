"""Statements on the hourly requests of models; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

ALL = Query(
    sqlite=Compiled('SELECT traffic.model, traffic.open, traffic.judged FROM traffic ORDER BY traffic.model'),
    postgresql=Compiled('SELECT traffic.model, traffic.open, traffic.judged FROM traffic ORDER BY traffic.model'),
)
JUDGED = Query(
    sqlite=Compiled('SELECT traffic.model, traffic.judged FROM traffic ORDER BY traffic.model'),
    postgresql=Compiled('SELECT traffic.model, traffic.judged FROM traffic ORDER BY traffic.model'),
)
OF_MODEL = Query(
    sqlite=Compiled('SELECT traffic.judged FROM traffic WHERE traffic.model = ?', ('model',)),
    postgresql=Compiled('SELECT traffic.judged FROM traffic WHERE traffic.model = %s::VARCHAR COLLATE "C"', ('model',)),
)
SAVE = RowQuery(
    columns=('model', 'open', 'judged'),
    sqlite=Compiled('INSERT INTO traffic (model, open, judged) VALUES (?, ?, ?) ON CONFLICT (model) DO UPDATE SET open = excluded.open, judged = excluded.judged', ('model', 'open', 'judged')),
    postgresql=Compiled('INSERT INTO traffic (model, open, judged) VALUES (%s::VARCHAR COLLATE "C", %s, %s) ON CONFLICT (model) DO UPDATE SET open = excluded.open, judged = excluded.judged', ('model', 'open', 'judged')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_traffic_save ( model TEXT COLLATE "C", open BYTEA, judged BYTEA )',
        copy='COPY staged_traffic_save FROM STDIN',
        run=Compiled('INSERT INTO traffic (model, open, judged) SELECT staged_traffic_save.model, staged_traffic_save.open, staged_traffic_save.judged FROM staged_traffic_save ON CONFLICT (model) DO UPDATE SET open = excluded.open, judged = excluded.judged'),
        empty='TRUNCATE staged_traffic_save',
    ),
)
SAVE_OPEN = RowQuery(
    columns=('model', 'open'),
    sqlite=Compiled('INSERT INTO traffic (model, open) VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET open = excluded.open', ('model', 'open')),
    postgresql=Compiled('INSERT INTO traffic (model, open) VALUES (%s::VARCHAR COLLATE "C", %s) ON CONFLICT (model) DO UPDATE SET open = excluded.open', ('model', 'open')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_traffic_save_open ( model TEXT COLLATE "C", open BYTEA )',
        copy='COPY staged_traffic_save_open FROM STDIN',
        run=Compiled('INSERT INTO traffic (model, open) SELECT staged_traffic_save_open.model, staged_traffic_save_open.open FROM staged_traffic_save_open ON CONFLICT (model) DO UPDATE SET open = excluded.open'),
        empty='TRUNCATE staged_traffic_save_open',
    ),
)
