"""Statements on dead letters: records that could not be ingested; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

NEWEST = Query(
    sqlite=Compiled('SELECT dead_letters.number, dead_letters.origin, dead_letters.reason, dead_letters.body FROM dead_letters ORDER BY dead_letters.number DESC LIMIT ? OFFSET ?', ('limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT dead_letters.number, dead_letters.origin, dead_letters.reason, dead_letters.body FROM dead_letters ORDER BY dead_letters.number DESC LIMIT %s::BIGINT', ('limit',)),
)
BODY = Query(
    sqlite=Compiled('SELECT dead_letters.body FROM dead_letters WHERE dead_letters.number = ?', ('number',)),
    postgresql=Compiled('SELECT dead_letters.body FROM dead_letters WHERE dead_letters.number = %s::BIGINT', ('number',)),
)
COUNT = Query(
    sqlite=Compiled('SELECT count(*) AS count_1 FROM dead_letters'),
    postgresql=Compiled('SELECT count(*) AS count_1 FROM dead_letters'),
)
ADD = RowQuery(
    columns=('origin', 'reason', 'body', 'partition'),
    sqlite=Compiled('INSERT INTO dead_letters (number, origin, reason, body, partition) SELECT coalesce(max(dead_letters.number), 0) + 1 AS anon_1, ? AS anon_2, ? AS anon_3, ? AS anon_4, ? AS anon_5 FROM dead_letters', ('origin', 'reason', 'body', 'partition')),
    postgresql=Compiled('INSERT INTO dead_letters (number, origin, reason, body, partition) SELECT coalesce(max(dead_letters.number), 0) + 1 AS anon_1, %s::VARCHAR COLLATE "C" AS anon_2, %s::VARCHAR COLLATE "C" AS anon_3, %s AS anon_4, %s::BIGINT AS anon_5 FROM dead_letters', ('origin', 'reason', 'body', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters_add ( origin TEXT COLLATE "C", reason TEXT COLLATE "C", body BYTEA, partition BIGINT )',
        copy='COPY staged_dead_letters_add FROM STDIN',
        run=Compiled('INSERT INTO dead_letters (number, origin, reason, body, partition) SELECT coalesce(max(dead_letters.number), 0) + 1 AS anon_1, staged_dead_letters_add.origin, staged_dead_letters_add.reason, staged_dead_letters_add.body, staged_dead_letters_add.partition FROM dead_letters, staged_dead_letters_add'),
        empty='TRUNCATE staged_dead_letters_add',
    ),
)
RETRY_LAST = RowQuery(
    columns=('origin',),
    sqlite=Compiled('INSERT INTO retries (number) SELECT max(dead_letters.number) AS max_1 FROM dead_letters WHERE dead_letters.origin = ?', ('origin',)),
    postgresql=Compiled('INSERT INTO retries (number) SELECT max(dead_letters.number) AS max_1 FROM dead_letters WHERE dead_letters.origin = %s::VARCHAR COLLATE "C"', ('origin',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters_retry_last ( origin TEXT COLLATE "C" )',
        copy='COPY staged_dead_letters_retry_last FROM STDIN',
        run=Compiled('INSERT INTO retries (number) SELECT max(dead_letters.number) AS max_1 FROM dead_letters, staged_dead_letters_retry_last WHERE dead_letters.origin = staged_dead_letters_retry_last.origin'),
        empty='TRUNCATE staged_dead_letters_retry_last',
    ),
)
DELETE_OLDEST = Query(
    sqlite=Compiled('DELETE FROM dead_letters WHERE dead_letters.number <= (SELECT max(dead_letters.number) AS max_1 FROM dead_letters) - ? AND (dead_letters.number NOT IN (SELECT retries.number FROM retries))', ('keep',)),
    postgresql=Compiled('DELETE FROM dead_letters WHERE dead_letters.number <= (SELECT max(dead_letters.number) AS max_1 FROM dead_letters) - %s::BIGINT AND (dead_letters.number NOT IN (SELECT retries.number FROM retries))', ('keep',)),
)
RETRIES = Query(
    sqlite=Compiled('SELECT dead_letters.number, dead_letters.origin, dead_letters.reason, dead_letters.body FROM dead_letters WHERE dead_letters.partition = ? AND dead_letters.number IN (SELECT retries.number FROM retries) ORDER BY dead_letters.number', ('partition',)),
    postgresql=Compiled('SELECT dead_letters.number, dead_letters.origin, dead_letters.reason, dead_letters.body FROM dead_letters WHERE dead_letters.partition = %s::BIGINT AND dead_letters.number IN (SELECT retries.number FROM retries) ORDER BY dead_letters.number', ('partition',)),
)
ANY_RETRY = Query(
    sqlite=Compiled('SELECT retries.number FROM retries WHERE retries.number IN (SELECT dead_letters.number FROM dead_letters WHERE dead_letters.partition = ?) LIMIT ? OFFSET ?', ('partition', 'param_1', 'param_2'), {'param_1': 1, 'param_2': 0}),
    postgresql=Compiled('SELECT retries.number FROM retries WHERE retries.number IN (SELECT dead_letters.number FROM dead_letters WHERE dead_letters.partition = %s::BIGINT) LIMIT %s::INTEGER', ('partition', 'param_1'), {'param_1': 1}),
)
RETRY = RowQuery(
    columns=('number',),
    sqlite=Compiled('INSERT INTO retries (number) VALUES (?) ON CONFLICT DO NOTHING', ('number',)),
    postgresql=Compiled('INSERT INTO retries (number) VALUES (%s::BIGINT) ON CONFLICT DO NOTHING', ('number',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters_retry ( number BIGINT )',
        copy='COPY staged_dead_letters_retry FROM STDIN',
        run=Compiled('INSERT INTO retries (number) SELECT staged_dead_letters_retry.number FROM staged_dead_letters_retry ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_dead_letters_retry',
    ),
)
DELETE_LETTERS = RowQuery(
    columns=('number',),
    sqlite=Compiled('DELETE FROM dead_letters WHERE dead_letters.number = ?', ('number',)),
    postgresql=Compiled('DELETE FROM dead_letters WHERE dead_letters.number = %s::BIGINT', ('number',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters_delete_letters ( number BIGINT )',
        copy='COPY staged_dead_letters_delete_letters FROM STDIN',
        run=Compiled('DELETE FROM dead_letters USING staged_dead_letters_delete_letters WHERE dead_letters.number = staged_dead_letters_delete_letters.number'),
        empty='TRUNCATE staged_dead_letters_delete_letters',
    ),
)
DELETE_RETRIES = RowQuery(
    columns=('number',),
    sqlite=Compiled('DELETE FROM retries WHERE retries.number = ?', ('number',)),
    postgresql=Compiled('DELETE FROM retries WHERE retries.number = %s::BIGINT', ('number',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters_delete_retries ( number BIGINT )',
        copy='COPY staged_dead_letters_delete_retries FROM STDIN',
        run=Compiled('DELETE FROM retries USING staged_dead_letters_delete_retries WHERE retries.number = staged_dead_letters_delete_retries.number'),
        empty='TRUNCATE staged_dead_letters_delete_retries',
    ),
)
