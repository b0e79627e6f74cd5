"""Statements on webhooks and disabled receivers; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

DELIVERIES = Query(
    sqlite=Compiled('SELECT outbox.webhook_id, outbox.body, outbox.created, outbox.attempts, outbox.next_attempt, outbox.state, outbox.last_error FROM outbox ORDER BY outbox.created DESC'),
    postgresql=Compiled('SELECT outbox.webhook_id, outbox.body, outbox.created, outbox.attempts, outbox.next_attempt, outbox.state, outbox.last_error FROM outbox ORDER BY outbox.created DESC'),
)
DUE = Query(
    sqlite=Compiled("SELECT outbox.webhook_id, outbox.body, outbox.created, outbox.attempts, outbox.next_attempt, outbox.state, outbox.last_error FROM outbox WHERE outbox.state = 'pending' AND outbox.next_attempt <= ? ORDER BY outbox.created", ('now',)),
    postgresql=Compiled("SELECT outbox.webhook_id, outbox.body, outbox.created, outbox.attempts, outbox.next_attempt, outbox.state, outbox.last_error FROM outbox WHERE outbox.state = 'pending' AND outbox.next_attempt <= %s::BIGINT ORDER BY outbox.created", ('now',)),
)
PENDING = Query(
    sqlite=Compiled("SELECT outbox.webhook_id, outbox.body FROM outbox WHERE outbox.state = 'pending'"),
    postgresql=Compiled("SELECT outbox.webhook_id, outbox.body FROM outbox WHERE outbox.state = 'pending'"),
)
ADD = RowQuery(
    columns=('webhook_id', 'body', 'created', 'attempts', 'next_attempt', 'state', 'last_error'),
    sqlite=Compiled('INSERT INTO outbox (webhook_id, body, created, attempts, next_attempt, state, last_error) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', ('webhook_id', 'body', 'created', 'attempts', 'next_attempt', 'state', 'last_error')),
    postgresql=Compiled('INSERT INTO outbox (webhook_id, body, created, attempts, next_attempt, state, last_error) VALUES (%s::VARCHAR COLLATE "C", %s, %s::BIGINT, %s::BIGINT, %s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C") ON CONFLICT DO NOTHING', ('webhook_id', 'body', 'created', 'attempts', 'next_attempt', 'state', 'last_error')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_add ( webhook_id TEXT COLLATE "C", body BYTEA, created BIGINT, attempts BIGINT, next_attempt BIGINT, state TEXT COLLATE "C", last_error TEXT COLLATE "C" )',
        copy='COPY staged_outbox_add FROM STDIN',
        run=Compiled('INSERT INTO outbox (webhook_id, body, created, attempts, next_attempt, state, last_error) SELECT staged_outbox_add.webhook_id, staged_outbox_add.body, staged_outbox_add.created, staged_outbox_add.attempts, staged_outbox_add.next_attempt, staged_outbox_add.state, staged_outbox_add.last_error FROM staged_outbox_add ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_outbox_add',
    ),
)
DELIVERED = RowQuery(
    columns=('webhook_id',),
    sqlite=Compiled("UPDATE outbox SET attempts=(outbox.attempts + 1), state='delivered', last_error='' WHERE outbox.webhook_id = ?", ('webhook_id',)),
    postgresql=Compiled('UPDATE outbox SET attempts=(outbox.attempts + 1), state=\'delivered\', last_error=\'\' WHERE outbox.webhook_id = %s::VARCHAR COLLATE "C"', ('webhook_id',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_delivered ( webhook_id TEXT COLLATE "C" )',
        copy='COPY staged_outbox_delivered FROM STDIN',
        run=Compiled("UPDATE outbox SET attempts=(outbox.attempts + 1), state='delivered', last_error='' FROM staged_outbox_delivered WHERE outbox.webhook_id = staged_outbox_delivered.webhook_id"),
        empty='TRUNCATE staged_outbox_delivered',
    ),
)
FAILED = RowQuery(
    columns=('state', 'last_error', 'next_attempt', 'webhook_id'),
    sqlite=Compiled("UPDATE outbox SET attempts=(outbox.attempts + 1), next_attempt=?, state=?, last_error=? WHERE outbox.webhook_id = ? AND outbox.state = 'pending'", ('next_attempt', 'state', 'last_error', 'webhook_id')),
    postgresql=Compiled('UPDATE outbox SET attempts=(outbox.attempts + 1), next_attempt=%s::BIGINT, state=%s::VARCHAR COLLATE "C", last_error=%s::VARCHAR COLLATE "C" WHERE outbox.webhook_id = %s::VARCHAR COLLATE "C" AND outbox.state = \'pending\'', ('next_attempt', 'state', 'last_error', 'webhook_id')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_failed ( state TEXT COLLATE "C", last_error TEXT COLLATE "C", next_attempt BIGINT, webhook_id TEXT COLLATE "C" )',
        copy='COPY staged_outbox_failed FROM STDIN',
        run=Compiled("UPDATE outbox SET attempts=(outbox.attempts + 1), next_attempt=staged_outbox_failed.next_attempt, state=staged_outbox_failed.state, last_error=staged_outbox_failed.last_error FROM staged_outbox_failed WHERE outbox.webhook_id = staged_outbox_failed.webhook_id AND outbox.state = 'pending'"),
        empty='TRUNCATE staged_outbox_failed',
    ),
)
COUNT_DEAD = Query(
    sqlite=Compiled("SELECT count(*) AS count_1 FROM outbox WHERE outbox.webhook_id = ? AND outbox.state = 'dead'", ('webhook_id',)),
    postgresql=Compiled('SELECT count(*) AS count_1 FROM outbox WHERE outbox.webhook_id = %s::VARCHAR COLLATE "C" AND outbox.state = \'dead\'', ('webhook_id',)),
)
REVIVE = RowQuery(
    columns=('next_attempt', 'webhook_id'),
    sqlite=Compiled("UPDATE outbox SET attempts=0, next_attempt=?, state='pending' WHERE outbox.webhook_id = ? AND outbox.state = 'dead'", ('next_attempt', 'webhook_id')),
    postgresql=Compiled('UPDATE outbox SET attempts=0, next_attempt=%s::BIGINT, state=\'pending\' WHERE outbox.webhook_id = %s::VARCHAR COLLATE "C" AND outbox.state = \'dead\'', ('next_attempt', 'webhook_id')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_revive ( next_attempt BIGINT, webhook_id TEXT COLLATE "C" )',
        copy='COPY staged_outbox_revive FROM STDIN',
        run=Compiled("UPDATE outbox SET attempts=0, next_attempt=staged_outbox_revive.next_attempt, state='pending' FROM staged_outbox_revive WHERE outbox.webhook_id = staged_outbox_revive.webhook_id AND outbox.state = 'dead'"),
        empty='TRUNCATE staged_outbox_revive',
    ),
)
SUPERSEDE = RowQuery(
    columns=('webhook_id',),
    sqlite=Compiled("UPDATE outbox SET state='superseded' WHERE outbox.webhook_id = ? AND outbox.state = 'pending'", ('webhook_id',)),
    postgresql=Compiled('UPDATE outbox SET state=\'superseded\' WHERE outbox.webhook_id = %s::VARCHAR COLLATE "C" AND outbox.state = \'pending\'', ('webhook_id',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_supersede ( webhook_id TEXT COLLATE "C" )',
        copy='COPY staged_outbox_supersede FROM STDIN',
        run=Compiled("UPDATE outbox SET state='superseded' FROM staged_outbox_supersede WHERE outbox.webhook_id = staged_outbox_supersede.webhook_id AND outbox.state = 'pending'"),
        empty='TRUNCATE staged_outbox_supersede',
    ),
)
DELETE_BEFORE = Query(
    sqlite=Compiled("DELETE FROM outbox WHERE outbox.state != 'pending' AND outbox.created < ?", ('until',)),
    postgresql=Compiled("DELETE FROM outbox WHERE outbox.state != 'pending' AND outbox.created < %s::BIGINT", ('until',)),
)
DISABLED = Query(
    sqlite=Compiled('SELECT disabled_receivers.body FROM disabled_receivers ORDER BY disabled_receivers.receiver'),
    postgresql=Compiled('SELECT disabled_receivers.body FROM disabled_receivers ORDER BY disabled_receivers.receiver'),
)
DISABLE = RowQuery(
    columns=('receiver', 'body'),
    sqlite=Compiled('INSERT INTO disabled_receivers (receiver, body) VALUES (?, ?) ON CONFLICT DO NOTHING', ('receiver', 'body')),
    postgresql=Compiled('INSERT INTO disabled_receivers (receiver, body) VALUES (%s::VARCHAR COLLATE "C", %s) ON CONFLICT DO NOTHING', ('receiver', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_disable ( receiver TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_outbox_disable FROM STDIN',
        run=Compiled('INSERT INTO disabled_receivers (receiver, body) SELECT staged_outbox_disable.receiver, staged_outbox_disable.body FROM staged_outbox_disable ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_outbox_disable',
    ),
)
ENABLE = RowQuery(
    columns=('receiver',),
    sqlite=Compiled('DELETE FROM disabled_receivers WHERE disabled_receivers.receiver = ?', ('receiver',)),
    postgresql=Compiled('DELETE FROM disabled_receivers WHERE disabled_receivers.receiver = %s::VARCHAR COLLATE "C"', ('receiver',)),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_outbox_enable ( receiver TEXT COLLATE "C" )',
        copy='COPY staged_outbox_enable FROM STDIN',
        run=Compiled('DELETE FROM disabled_receivers USING staged_outbox_enable WHERE disabled_receivers.receiver = staged_outbox_enable.receiver'),
        empty='TRUNCATE staged_outbox_enable',
    ),
)
