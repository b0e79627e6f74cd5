"""Statements on how far the log is ingested, and on what was counted of it; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

POSITIONS = Query(
    sqlite=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions'),
    postgresql=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions'),
)
SAVE_POSITION = RowQuery(
    columns=('source', 'epoch', 'sequence'),
    sqlite=Compiled('INSERT INTO positions (source, epoch, sequence) VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence', ('source', 'epoch', 'sequence')),
    postgresql=Compiled('INSERT INTO positions (source, epoch, sequence) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence', ('source', 'epoch', 'sequence')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_position ( source TEXT COLLATE "C", epoch BIGINT, sequence BIGINT )',
        copy='COPY staged_progress_save_position FROM STDIN',
        run=Compiled('INSERT INTO positions (source, epoch, sequence) SELECT staged_progress_save_position.source, staged_progress_save_position.epoch, staged_progress_save_position.sequence FROM staged_progress_save_position ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence'),
        empty='TRUNCATE staged_progress_save_position',
    ),
)
LEDGERS = Query(
    sqlite=Compiled('SELECT ledger.source, ledger.body FROM ledger ORDER BY ledger.source'),
    postgresql=Compiled('SELECT ledger.source, ledger.body FROM ledger ORDER BY ledger.source'),
)
SAVE_LEDGER = RowQuery(
    columns=('source', 'body'),
    sqlite=Compiled('INSERT INTO ledger (source, body) VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET body = excluded.body', ('source', 'body')),
    postgresql=Compiled('INSERT INTO ledger (source, body) VALUES (%s::VARCHAR COLLATE "C", %s) ON CONFLICT (source) DO UPDATE SET body = excluded.body', ('source', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_ledger ( source TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_progress_save_ledger FROM STDIN',
        run=Compiled('INSERT INTO ledger (source, body) SELECT staged_progress_save_ledger.source, staged_progress_save_ledger.body FROM staged_progress_save_ledger ON CONFLICT (source) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_progress_save_ledger',
    ),
)
CHAINS = Query(
    sqlite=Compiled('SELECT chains.body FROM chains ORDER BY chains.source, chains.shard'),
    postgresql=Compiled('SELECT chains.body FROM chains ORDER BY chains.source, chains.shard'),
)
SAVE_CHAIN = RowQuery(
    columns=('source', 'shard', 'body'),
    sqlite=Compiled('INSERT INTO chains (source, shard, body) VALUES (?, ?, ?) ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body', ('source', 'shard', 'body')),
    postgresql=Compiled('INSERT INTO chains (source, shard, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s) ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body', ('source', 'shard', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_chain ( source TEXT COLLATE "C", shard TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_progress_save_chain FROM STDIN',
        run=Compiled('INSERT INTO chains (source, shard, body) SELECT staged_progress_save_chain.source, staged_progress_save_chain.shard, staged_progress_save_chain.body FROM staged_progress_save_chain ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_progress_save_chain',
    ),
)
MINUTES = Query(
    sqlite=Compiled('SELECT monitored.source, monitored.minute, monitored.events FROM monitored'),
    postgresql=Compiled('SELECT monitored.source, monitored.minute, monitored.events FROM monitored'),
)
COUNT_MINUTE = RowQuery(
    columns=('source', 'minute', 'events'),
    sqlite=Compiled('INSERT INTO monitored (source, minute, events) VALUES (?, ?, ?) ON CONFLICT (source, minute) DO UPDATE SET events = (monitored.events + excluded.events)', ('source', 'minute', 'events')),
    postgresql=Compiled('INSERT INTO monitored (source, minute, events) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT) ON CONFLICT (source, minute) DO UPDATE SET events = (monitored.events + excluded.events)', ('source', 'minute', 'events')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_count_minute ( source TEXT COLLATE "C", minute BIGINT, events BIGINT )',
        copy='COPY staged_progress_count_minute FROM STDIN',
        run=Compiled('INSERT INTO monitored (source, minute, events) SELECT staged_progress_count_minute.source, staged_progress_count_minute.minute, staged_progress_count_minute.events FROM staged_progress_count_minute ON CONFLICT (source, minute) DO UPDATE SET events = (monitored.events + excluded.events)'),
        empty='TRUNCATE staged_progress_count_minute',
    ),
)
DELETE_MINUTES = RowQuery(
    columns=('source', 'minute'),
    sqlite=Compiled('DELETE FROM monitored WHERE monitored.source = ? AND monitored.minute < ?', ('source', 'minute')),
    postgresql=Compiled('DELETE FROM monitored WHERE monitored.source = %s::VARCHAR COLLATE "C" AND monitored.minute < %s::BIGINT', ('source', 'minute')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_delete_minutes ( source TEXT COLLATE "C", minute BIGINT )',
        copy='COPY staged_progress_delete_minutes FROM STDIN',
        run=Compiled('DELETE FROM monitored USING staged_progress_delete_minutes WHERE monitored.source = staged_progress_delete_minutes.source AND monitored.minute < staged_progress_delete_minutes.minute'),
        empty='TRUNCATE staged_progress_delete_minutes',
    ),
)
TOTALS = Query(
    sqlite=Compiled('SELECT totals.name, totals.value FROM totals'),
    postgresql=Compiled('SELECT totals.name, totals.value FROM totals'),
)
COUNT = RowQuery(
    columns=('name', 'value'),
    sqlite=Compiled('INSERT INTO totals (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = (totals.value + excluded.value)', ('name', 'value')),
    postgresql=Compiled('INSERT INTO totals (name, value) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (name) DO UPDATE SET value = (totals.value + excluded.value)', ('name', 'value')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_count ( name TEXT COLLATE "C", value BIGINT )',
        copy='COPY staged_progress_count FROM STDIN',
        run=Compiled('INSERT INTO totals (name, value) SELECT staged_progress_count.name, staged_progress_count.value FROM staged_progress_count ON CONFLICT (name) DO UPDATE SET value = (totals.value + excluded.value)'),
        empty='TRUNCATE staged_progress_count',
    ),
)
MINUTES_SINCE = Query(
    sqlite=Compiled("SELECT horizons.until FROM horizons WHERE horizons.name = 'minutes'"),
    postgresql=Compiled("SELECT horizons.until FROM horizons WHERE horizons.name = 'minutes'"),
)
SAVE_HORIZON = RowQuery(
    columns=('name', 'until'),
    sqlite=Compiled('INSERT INTO horizons (name, until) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET until = excluded.until', ('name', 'until')),
    postgresql=Compiled('INSERT INTO horizons (name, until) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (name) DO UPDATE SET until = excluded.until', ('name', 'until')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_horizon ( name TEXT COLLATE "C", until BIGINT )',
        copy='COPY staged_progress_save_horizon FROM STDIN',
        run=Compiled('INSERT INTO horizons (name, until) SELECT staged_progress_save_horizon.name, staged_progress_save_horizon.until FROM staged_progress_save_horizon ON CONFLICT (name) DO UPDATE SET until = excluded.until'),
        empty='TRUNCATE staged_progress_save_horizon',
    ),
)
