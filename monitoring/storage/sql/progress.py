"""Statements on the ingested positions and the event counters; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

POSITIONS = Query(
    sqlite=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions WHERE positions.partition = ?', ('partition',)),
    postgresql=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions WHERE positions.partition = %s::BIGINT', ('partition',)),
)
ALL_POSITIONS = Query(
    sqlite=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions'),
    postgresql=Compiled('SELECT positions.source, positions.epoch, positions.sequence FROM positions'),
)
SAVE_POSITION = RowQuery(
    columns=('source', 'epoch', 'sequence', 'partition'),
    sqlite=Compiled('INSERT INTO positions (source, epoch, sequence, partition) VALUES (?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence, partition = excluded.partition', ('source', 'epoch', 'sequence', 'partition')),
    postgresql=Compiled('INSERT INTO positions (source, epoch, sequence, partition) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s::BIGINT) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence, partition = excluded.partition', ('source', 'epoch', 'sequence', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_position ( source TEXT COLLATE "C", epoch BIGINT, sequence BIGINT, partition BIGINT )',
        copy='COPY staged_progress_save_position FROM STDIN',
        run=Compiled('INSERT INTO positions (source, epoch, sequence, partition) SELECT staged_progress_save_position.source, staged_progress_save_position.epoch, staged_progress_save_position.sequence, staged_progress_save_position.partition FROM staged_progress_save_position ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence, partition = excluded.partition'),
        empty='TRUNCATE staged_progress_save_position',
    ),
)
LEDGERS = Query(
    sqlite=Compiled('SELECT ledger.shard, ledger.body FROM ledger WHERE ledger.partition = ? ORDER BY ledger.source, ledger.shard', ('partition',)),
    postgresql=Compiled('SELECT ledger.shard, ledger.body FROM ledger WHERE ledger.partition = %s::BIGINT ORDER BY ledger.source, ledger.shard', ('partition',)),
)
ALL_LEDGERS = Query(
    sqlite=Compiled('SELECT ledger.partition, ledger.shard, ledger.body FROM ledger ORDER BY ledger.source, ledger.shard, ledger.partition'),
    postgresql=Compiled('SELECT ledger.partition, ledger.shard, ledger.body FROM ledger ORDER BY ledger.source, ledger.shard, ledger.partition'),
)
SAVE_LEDGER = RowQuery(
    columns=('partition', 'source', 'shard', 'body'),
    sqlite=Compiled('INSERT INTO ledger (partition, source, shard, body) VALUES (?, ?, ?, ?) ON CONFLICT (partition, source, shard) DO UPDATE SET body = excluded.body', ('partition', 'source', 'shard', 'body')),
    postgresql=Compiled('INSERT INTO ledger (partition, source, shard, body) VALUES (%s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s) ON CONFLICT (partition, source, shard) DO UPDATE SET body = excluded.body', ('partition', 'source', 'shard', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_ledger ( partition BIGINT, source TEXT COLLATE "C", shard TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_progress_save_ledger FROM STDIN',
        run=Compiled('INSERT INTO ledger (partition, source, shard, body) SELECT staged_progress_save_ledger.partition, staged_progress_save_ledger.source, staged_progress_save_ledger.shard, staged_progress_save_ledger.body FROM staged_progress_save_ledger ON CONFLICT (partition, source, shard) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_progress_save_ledger',
    ),
)
CHAINS = Query(
    sqlite=Compiled('SELECT chains.body FROM chains WHERE chains.partition = ? ORDER BY chains.source, chains.shard', ('partition',)),
    postgresql=Compiled('SELECT chains.body FROM chains WHERE chains.partition = %s::BIGINT ORDER BY chains.source, chains.shard', ('partition',)),
)
ALL_CHAINS = Query(
    sqlite=Compiled('SELECT chains.body FROM chains ORDER BY chains.source, chains.shard'),
    postgresql=Compiled('SELECT chains.body FROM chains ORDER BY chains.source, chains.shard'),
)
SAVE_CHAIN = RowQuery(
    columns=('source', 'shard', 'body', 'partition'),
    sqlite=Compiled('INSERT INTO chains (source, shard, body, partition) VALUES (?, ?, ?, ?) ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body, partition = excluded.partition', ('source', 'shard', 'body', 'partition')),
    postgresql=Compiled('INSERT INTO chains (source, shard, body, partition) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s, %s::BIGINT) ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body, partition = excluded.partition', ('source', 'shard', 'body', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_chain ( source TEXT COLLATE "C", shard TEXT COLLATE "C", body BYTEA, partition BIGINT )',
        copy='COPY staged_progress_save_chain FROM STDIN',
        run=Compiled('INSERT INTO chains (source, shard, body, partition) SELECT staged_progress_save_chain.source, staged_progress_save_chain.shard, staged_progress_save_chain.body, staged_progress_save_chain.partition FROM staged_progress_save_chain ON CONFLICT (source, shard) DO UPDATE SET body = excluded.body, partition = excluded.partition'),
        empty='TRUNCATE staged_progress_save_chain',
    ),
)
MINUTES = Query(
    sqlite=Compiled('SELECT monitored.source, monitored.minute, monitored.events FROM monitored'),
    postgresql=Compiled('SELECT monitored.source, monitored.minute, monitored.events FROM monitored'),
)
COUNT_MINUTE = RowQuery(
    columns=('partition', 'source', 'minute', 'events'),
    sqlite=Compiled('INSERT INTO monitored (partition, source, minute, events) VALUES (?, ?, ?, ?) ON CONFLICT (partition, source, minute) DO UPDATE SET events = (monitored.events + excluded.events)', ('partition', 'source', 'minute', 'events')),
    postgresql=Compiled('INSERT INTO monitored (partition, source, minute, events) VALUES (%s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT) ON CONFLICT (partition, source, minute) DO UPDATE SET events = (monitored.events + excluded.events)', ('partition', 'source', 'minute', 'events')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_count_minute ( partition BIGINT, source TEXT COLLATE "C", minute BIGINT, events BIGINT )',
        copy='COPY staged_progress_count_minute FROM STDIN',
        run=Compiled('INSERT INTO monitored (partition, source, minute, events) SELECT staged_progress_count_minute.partition, staged_progress_count_minute.source, staged_progress_count_minute.minute, staged_progress_count_minute.events FROM staged_progress_count_minute ON CONFLICT (partition, source, minute) DO UPDATE SET events = (monitored.events + excluded.events)'),
        empty='TRUNCATE staged_progress_count_minute',
    ),
)
DELETE_MINUTES = RowQuery(
    columns=('partition', 'source', 'minute'),
    sqlite=Compiled('DELETE FROM monitored WHERE monitored.partition = ? AND monitored.source = ? AND monitored.minute < ?', ('partition', 'source', 'minute')),
    postgresql=Compiled('DELETE FROM monitored WHERE monitored.partition = %s::BIGINT AND monitored.source = %s::VARCHAR COLLATE "C" AND monitored.minute < %s::BIGINT', ('partition', 'source', 'minute')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_delete_minutes ( partition BIGINT, source TEXT COLLATE "C", minute BIGINT )',
        copy='COPY staged_progress_delete_minutes FROM STDIN',
        run=Compiled('DELETE FROM monitored USING staged_progress_delete_minutes WHERE monitored.partition = staged_progress_delete_minutes.partition AND monitored.source = staged_progress_delete_minutes.source AND monitored.minute < staged_progress_delete_minutes.minute'),
        empty='TRUNCATE staged_progress_delete_minutes',
    ),
)
TOTALS = Query(
    sqlite=Compiled('SELECT totals.name, totals.value FROM totals'),
    postgresql=Compiled('SELECT totals.name, totals.value FROM totals'),
)
COUNT = RowQuery(
    columns=('partition', 'name', 'value'),
    sqlite=Compiled('INSERT INTO totals (partition, name, value) VALUES (?, ?, ?) ON CONFLICT (partition, name) DO UPDATE SET value = (totals.value + excluded.value)', ('partition', 'name', 'value')),
    postgresql=Compiled('INSERT INTO totals (partition, name, value) VALUES (%s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (partition, name) DO UPDATE SET value = (totals.value + excluded.value)', ('partition', 'name', 'value')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_count ( partition BIGINT, name TEXT COLLATE "C", value BIGINT )',
        copy='COPY staged_progress_count FROM STDIN',
        run=Compiled('INSERT INTO totals (partition, name, value) SELECT staged_progress_count.partition, staged_progress_count.name, staged_progress_count.value FROM staged_progress_count ON CONFLICT (partition, name) DO UPDATE SET value = (totals.value + excluded.value)'),
        empty='TRUNCATE staged_progress_count',
    ),
)
LAYOUT = Query(
    sqlite=Compiled("SELECT layout.value FROM layout WHERE layout.name = 'partitions'"),
    postgresql=Compiled("SELECT layout.value FROM layout WHERE layout.name = 'partitions'"),
)
SAVE_LAYOUT = RowQuery(
    columns=('name', 'value'),
    sqlite=Compiled('INSERT INTO layout (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value', ('name', 'value')),
    postgresql=Compiled('INSERT INTO layout (name, value) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (name) DO UPDATE SET value = excluded.value', ('name', 'value')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_layout ( name TEXT COLLATE "C", value BIGINT )',
        copy='COPY staged_progress_save_layout FROM STDIN',
        run=Compiled('INSERT INTO layout (name, value) SELECT staged_progress_save_layout.name, staged_progress_save_layout.value FROM staged_progress_save_layout ON CONFLICT (name) DO UPDATE SET value = excluded.value'),
        empty='TRUNCATE staged_progress_save_layout',
    ),
)
MINUTES_SINCE = Query(
    sqlite=Compiled("SELECT max(horizons.until) AS max_1 FROM horizons WHERE horizons.name = 'minutes'"),
    postgresql=Compiled("SELECT max(horizons.until) AS max_1 FROM horizons WHERE horizons.name = 'minutes'"),
)
SAVE_HORIZON = RowQuery(
    columns=('partition', 'name', 'until'),
    sqlite=Compiled('INSERT INTO horizons (partition, name, until) VALUES (?, ?, ?) ON CONFLICT (partition, name) DO UPDATE SET until = excluded.until', ('partition', 'name', 'until')),
    postgresql=Compiled('INSERT INTO horizons (partition, name, until) VALUES (%s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (partition, name) DO UPDATE SET until = excluded.until', ('partition', 'name', 'until')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_progress_save_horizon ( partition BIGINT, name TEXT COLLATE "C", until BIGINT )',
        copy='COPY staged_progress_save_horizon FROM STDIN',
        run=Compiled('INSERT INTO horizons (partition, name, until) SELECT staged_progress_save_horizon.partition, staged_progress_save_horizon.name, staged_progress_save_horizon.until FROM staged_progress_save_horizon ON CONFLICT (partition, name) DO UPDATE SET until = excluded.until'),
        empty='TRUNCATE staged_progress_save_horizon',
    ),
)
