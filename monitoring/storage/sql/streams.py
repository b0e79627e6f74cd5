"""Statements on the streams that monitors share; PostgreSQL only; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

LIMIT_IDLE_SESSION = Query(
    sqlite=Compiled("SET idle_session_timeout = '30s'"),
    postgresql=Compiled("SET idle_session_timeout = '30s'"),
)
LIMIT_IDLE_TRANSACTION = Query(
    sqlite=Compiled("SET idle_in_transaction_session_timeout = '60s'"),
    postgresql=Compiled("SET idle_in_transaction_session_timeout = '60s'"),
)
ADD = RowQuery(
    columns=('stream',),
    sqlite=Compiled('INSERT INTO streams (stream) VALUES (?) ON CONFLICT DO NOTHING', ('stream',)),
    postgresql=Compiled('INSERT INTO streams (stream) VALUES (%s::VARCHAR COLLATE "C") ON CONFLICT DO NOTHING', ('stream',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_add ( stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_add FROM STDIN',
        run=Compiled('INSERT INTO streams (stream) SELECT staged_streams_add.stream FROM staged_streams_add ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_streams_add',
    ),
)
UNFINISHED = RowQuery(
    columns=('stream',),
    sqlite=Compiled('UPDATE streams SET ended=0 WHERE streams.stream = ?', ('stream',)),
    postgresql=Compiled('UPDATE streams SET ended=0 WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('stream',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_unfinished ( stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_unfinished FROM STDIN',
        run=Compiled('UPDATE streams SET ended=0 FROM staged_streams_unfinished WHERE streams.stream = staged_streams_unfinished.stream'),
        empty='TRUNCATE staged_streams_unfinished',
    ),
)
POSITION = Query(
    sqlite=Compiled('SELECT coalesce(streams.epoch, positions.epoch) AS coalesce_1, coalesce(streams.sequence, positions.sequence) AS coalesce_2 FROM streams LEFT OUTER JOIN positions ON positions.source = streams.stream WHERE streams.stream = ?', ('stream',)),
    postgresql=Compiled('SELECT coalesce(streams.epoch, positions.epoch) AS coalesce_1, coalesce(streams.sequence, positions.sequence) AS coalesce_2 FROM streams LEFT OUTER JOIN positions ON positions.source = streams.stream WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('stream',)),
)
REPORT = RowQuery(
    columns=('epoch', 'sequence', 'ended', 'stream'),
    sqlite=Compiled("UPDATE streams SET epoch=coalesce(?, streams.epoch), sequence=coalesce(?, streams.sequence), ended=?, reported=CAST(1000 * CAST(STRFTIME('%s', clock_timestamp()) AS INTEGER) AS BIGINT) WHERE streams.stream = ?", ('epoch', 'sequence', 'ended', 'stream')),
    postgresql=Compiled('UPDATE streams SET epoch=coalesce(%s::BIGINT, streams.epoch), sequence=coalesce(%s::BIGINT, streams.sequence), ended=%s::BIGINT, reported=CAST(1000 * EXTRACT(epoch FROM clock_timestamp()) AS BIGINT) WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('epoch', 'sequence', 'ended', 'stream')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_report ( epoch BIGINT, sequence BIGINT, ended BIGINT, stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_report FROM STDIN',
        run=Compiled('UPDATE streams SET epoch=coalesce(staged_streams_report.epoch, streams.epoch), sequence=coalesce(staged_streams_report.sequence, streams.sequence), ended=staged_streams_report.ended, reported=CAST(1000 * EXTRACT(epoch FROM clock_timestamp()) AS BIGINT) FROM staged_streams_report WHERE streams.stream = staged_streams_report.stream'),
        empty='TRUNCATE staged_streams_report',
    ),
)
STATES = Query(
    sqlite=Compiled("SELECT streams.stream, streams.chunks, streams.taken, streams.ended = 1 AND streams.reported > CAST(1000 * CAST(STRFTIME('%s', clock_timestamp()) AS INTEGER) AS BIGINT) - ? AS anon_1 FROM streams", ('fresh',)),
    postgresql=Compiled('SELECT streams.stream, streams.chunks, streams.taken, streams.ended = 1 AND streams.reported > CAST(1000 * EXTRACT(epoch FROM clock_timestamp()) AS BIGINT) - %s::BIGINT AS anon_1 FROM streams', ('fresh',)),
)
CHUNKS = Query(
    sqlite=Compiled('SELECT handed.number, handed.body FROM handed WHERE handed.stream = ? AND handed.number > ? ORDER BY handed.number LIMIT ? OFFSET ?', ('stream', 'after', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT handed.number, handed.body FROM handed WHERE handed.stream = %s::VARCHAR COLLATE "C" AND handed.number > %s::BIGINT ORDER BY handed.number LIMIT %s::BIGINT', ('stream', 'after', 'limit')),
)
ADD_CHUNK = RowQuery(
    columns=('body', 'stream'),
    sqlite=Compiled('INSERT INTO handed (stream, number, body) SELECT streams.stream, streams.chunks + 1 AS anon_1, ? AS anon_2 FROM streams WHERE streams.stream = ?', ('body', 'stream')),
    postgresql=Compiled('INSERT INTO handed (stream, number, body) SELECT streams.stream, streams.chunks + 1 AS anon_1, %s AS anon_2 FROM streams WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('body', 'stream')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_add_chunk ( body BYTEA, stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_add_chunk FROM STDIN',
        run=Compiled('INSERT INTO handed (stream, number, body) SELECT streams.stream, streams.chunks + 1 AS anon_1, staged_streams_add_chunk.body FROM streams, staged_streams_add_chunk WHERE streams.stream = staged_streams_add_chunk.stream'),
        empty='TRUNCATE staged_streams_add_chunk',
    ),
)
COUNT_CHUNK = RowQuery(
    columns=('stream',),
    sqlite=Compiled('UPDATE streams SET chunks=(streams.chunks + 1) WHERE streams.stream = ?', ('stream',)),
    postgresql=Compiled('UPDATE streams SET chunks=(streams.chunks + 1) WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('stream',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_count_chunk ( stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_count_chunk FROM STDIN',
        run=Compiled('UPDATE streams SET chunks=(streams.chunks + 1) FROM staged_streams_count_chunk WHERE streams.stream = staged_streams_count_chunk.stream'),
        empty='TRUNCATE staged_streams_count_chunk',
    ),
)
DELETE_CHUNKS = RowQuery(
    columns=('number', 'stream'),
    sqlite=Compiled('DELETE FROM handed WHERE handed.number <= ? AND handed.stream = ?', ('number', 'stream')),
    postgresql=Compiled('DELETE FROM handed WHERE handed.number <= %s::BIGINT AND handed.stream = %s::VARCHAR COLLATE "C"', ('number', 'stream')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_delete_chunks ( number BIGINT, stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_delete_chunks FROM STDIN',
        run=Compiled('DELETE FROM handed USING staged_streams_delete_chunks WHERE handed.number <= staged_streams_delete_chunks.number AND handed.stream = staged_streams_delete_chunks.stream'),
        empty='TRUNCATE staged_streams_delete_chunks',
    ),
)
TAKEN = RowQuery(
    columns=('taken', 'stream'),
    sqlite=Compiled('UPDATE streams SET taken=? WHERE streams.stream = ?', ('taken', 'stream')),
    postgresql=Compiled('UPDATE streams SET taken=%s::BIGINT WHERE streams.stream = %s::VARCHAR COLLATE "C"', ('taken', 'stream')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_streams_taken ( taken BIGINT, stream TEXT COLLATE "C" )',
        copy='COPY staged_streams_taken FROM STDIN',
        run=Compiled('UPDATE streams SET taken=staged_streams_taken.taken FROM staged_streams_taken WHERE streams.stream = staged_streams_taken.stream'),
        empty='TRUNCATE staged_streams_taken',
    ),
)
