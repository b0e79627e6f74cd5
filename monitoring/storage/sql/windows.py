"""Statements on monitored versions, their open windows and late events; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

VERSIONS = Query(
    sqlite=Compiled('SELECT watches.model, watches.version FROM watches ORDER BY watches.model, watches.version'),
    postgresql=Compiled('SELECT watches.model, watches.version FROM watches ORDER BY watches.model, watches.version'),
)
ALL_PROGRESS = Query(
    sqlite=Compiled('SELECT watches.body FROM watches'),
    postgresql=Compiled('SELECT watches.body FROM watches'),
)
PROGRESS_OF_PARTITION = Query(
    sqlite=Compiled('SELECT watches.body FROM watches WHERE watches.partition = ?', ('partition',)),
    postgresql=Compiled('SELECT watches.body FROM watches WHERE watches.partition = %s::BIGINT', ('partition',)),
)
PROGRESS = Query(
    sqlite=Compiled('SELECT watches.body FROM watches WHERE watches.model = ? AND watches.version = ?', ('model', 'version')),
    postgresql=Compiled('SELECT watches.body FROM watches WHERE watches.model = %s::VARCHAR COLLATE "C" AND watches.version = %s::VARCHAR COLLATE "C"', ('model', 'version')),
)
SAVE_PROGRESS = RowQuery(
    columns=('model', 'version', 'body', 'partition'),
    sqlite=Compiled('INSERT INTO watches (model, version, body, partition) VALUES (?, ?, ?, ?) ON CONFLICT (model, version) DO UPDATE SET body = excluded.body', ('model', 'version', 'body', 'partition')),
    postgresql=Compiled('INSERT INTO watches (model, version, body, partition) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s, %s::BIGINT) ON CONFLICT (model, version) DO UPDATE SET body = excluded.body', ('model', 'version', 'body', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_windows_save_progress ( model TEXT COLLATE "C", version TEXT COLLATE "C", body BYTEA, partition BIGINT )',
        copy='COPY staged_windows_save_progress FROM STDIN',
        run=Compiled('INSERT INTO watches (model, version, body, partition) SELECT staged_windows_save_progress.model, staged_windows_save_progress.version, staged_windows_save_progress.body, staged_windows_save_progress.partition FROM staged_windows_save_progress ON CONFLICT (model, version) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_windows_save_progress',
    ),
)
WINDOWS = Query(
    sqlite=Compiled('SELECT windows.body FROM windows WHERE windows.model = ? AND windows.version = ? ORDER BY windows.start', ('model', 'version')),
    postgresql=Compiled('SELECT windows.body FROM windows WHERE windows.model = %s::VARCHAR COLLATE "C" AND windows.version = %s::VARCHAR COLLATE "C" ORDER BY windows.start', ('model', 'version')),
)
SAVE_WINDOW = RowQuery(
    columns=('model', 'version', 'start', 'body'),
    sqlite=Compiled('INSERT INTO windows (model, version, start, body) VALUES (?, ?, ?, ?) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    postgresql=Compiled('INSERT INTO windows (model, version, start, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_windows_save_window ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, body BYTEA )',
        copy='COPY staged_windows_save_window FROM STDIN',
        run=Compiled('INSERT INTO windows (model, version, start, body) SELECT staged_windows_save_window.model, staged_windows_save_window.version, staged_windows_save_window.start, staged_windows_save_window.body FROM staged_windows_save_window ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_windows_save_window',
    ),
)
DELETE_WINDOW = RowQuery(
    columns=('model', 'version', 'start'),
    sqlite=Compiled('DELETE FROM windows WHERE windows.model = ? AND windows.version = ? AND windows.start = ?', ('model', 'version', 'start')),
    postgresql=Compiled('DELETE FROM windows WHERE windows.model = %s::VARCHAR COLLATE "C" AND windows.version = %s::VARCHAR COLLATE "C" AND windows.start = %s::BIGINT', ('model', 'version', 'start')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_windows_delete_window ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT )',
        copy='COPY staged_windows_delete_window FROM STDIN',
        run=Compiled('DELETE FROM windows USING staged_windows_delete_window WHERE windows.model = staged_windows_delete_window.model AND windows.version = staged_windows_delete_window.version AND windows.start = staged_windows_delete_window.start'),
        empty='TRUNCATE staged_windows_delete_window',
    ),
)
LATE = Query(
    sqlite=Compiled('SELECT CAST(sum(late.events) AS BIGINT) AS sum_1, CAST(sum(late.rows) AS BIGINT) AS sum_2 FROM late WHERE late.model = ? AND late.version = ? AND late.start >= ? AND late.start < ?', ('model', 'version', 'begin', 'end')),
    postgresql=Compiled('SELECT CAST(sum(late.events) AS BIGINT) AS sum_1, CAST(sum(late.rows) AS BIGINT) AS sum_2 FROM late WHERE late.model = %s::VARCHAR COLLATE "C" AND late.version = %s::VARCHAR COLLATE "C" AND late.start >= %s::BIGINT AND late.start < %s::BIGINT', ('model', 'version', 'begin', 'end')),
)
COUNT_LATE = RowQuery(
    columns=('model', 'version', 'start', 'events', 'rows'),
    sqlite=Compiled('INSERT INTO late (model, version, start, events, rows) VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, version, start) DO UPDATE SET events = (late.events + excluded.events), rows = (late.rows + excluded.rows)', ('model', 'version', 'start', 'events', 'rows')),
    postgresql=Compiled('INSERT INTO late (model, version, start, events, rows) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s::BIGINT) ON CONFLICT (model, version, start) DO UPDATE SET events = (late.events + excluded.events), rows = (late.rows + excluded.rows)', ('model', 'version', 'start', 'events', 'rows')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_windows_count_late ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, events BIGINT, rows BIGINT )',
        copy='COPY staged_windows_count_late FROM STDIN',
        run=Compiled('INSERT INTO late (model, version, start, events, rows) SELECT staged_windows_count_late.model, staged_windows_count_late.version, staged_windows_count_late.start, staged_windows_count_late.events, staged_windows_count_late.rows FROM staged_windows_count_late ON CONFLICT (model, version, start) DO UPDATE SET events = (late.events + excluded.events), rows = (late.rows + excluded.rows)'),
        empty='TRUNCATE staged_windows_count_late',
    ),
)
DELETE_LATE = Query(
    sqlite=Compiled('DELETE FROM late WHERE late.model = ? AND late.version = ? AND late.start >= ? AND late.start < ?', ('model', 'version', 'begin', 'end')),
    postgresql=Compiled('DELETE FROM late WHERE late.model = %s::VARCHAR COLLATE "C" AND late.version = %s::VARCHAR COLLATE "C" AND late.start >= %s::BIGINT AND late.start < %s::BIGINT', ('model', 'version', 'begin', 'end')),
)
