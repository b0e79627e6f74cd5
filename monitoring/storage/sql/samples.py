"""Statements on sampled rows of tensors; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

ADD = RowQuery(
    columns=('model', 'version', 'start', 'tensor', 'hash', 'form', 'body'),
    sqlite=Compiled('INSERT INTO samples (model, version, start, tensor, hash, form, body) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', ('model', 'version', 'start', 'tensor', 'hash', 'form', 'body')),
    postgresql=Compiled('INSERT INTO samples (model, version, start, tensor, hash, form, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s) ON CONFLICT DO NOTHING', ('model', 'version', 'start', 'tensor', 'hash', 'form', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_samples_add ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, tensor TEXT COLLATE "C", hash BIGINT, form TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_samples_add FROM STDIN',
        run=Compiled('INSERT INTO samples (model, version, start, tensor, hash, form, body) SELECT staged_samples_add.model, staged_samples_add.version, staged_samples_add.start, staged_samples_add.tensor, staged_samples_add.hash, staged_samples_add.form, staged_samples_add.body FROM staged_samples_add ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_samples_add',
    ),
)
EVICT = RowQuery(
    columns=('model', 'version', 'start', 'tensor', 'hash'),
    sqlite=Compiled('DELETE FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start = ? AND samples.tensor = ? AND samples.hash = ?', ('model', 'version', 'start', 'tensor', 'hash')),
    postgresql=Compiled('DELETE FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start = %s::BIGINT AND samples.tensor = %s::VARCHAR COLLATE "C" AND samples.hash = %s::BIGINT', ('model', 'version', 'start', 'tensor', 'hash')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_samples_evict ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, tensor TEXT COLLATE "C", hash BIGINT )',
        copy='COPY staged_samples_evict FROM STDIN',
        run=Compiled('DELETE FROM samples USING staged_samples_evict WHERE samples.model = staged_samples_evict.model AND samples.version = staged_samples_evict.version AND samples.start = staged_samples_evict.start AND samples.tensor = staged_samples_evict.tensor AND samples.hash = staged_samples_evict.hash'),
        empty='TRUNCATE staged_samples_evict',
    ),
)
EVICT_ABOVE = Query(
    sqlite=Compiled('DELETE FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start >= ? AND samples.start < ? AND samples.tensor = ? AND samples.hash > ?', ('model', 'version', 'start', 'end', 'tensor', 'largest')),
    postgresql=Compiled('DELETE FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start >= %s::BIGINT AND samples.start < %s::BIGINT AND samples.tensor = %s::VARCHAR COLLATE "C" AND samples.hash > %s::BIGINT', ('model', 'version', 'start', 'end', 'tensor', 'largest')),
)
REPLACE = RowQuery(
    columns=('form', 'body', 'model', 'version', 'start', 'tensor', 'hash'),
    sqlite=Compiled('UPDATE samples SET form=?, body=? WHERE samples.model = ? AND samples.version = ? AND samples.start = ? AND samples.tensor = ? AND samples.hash = ?', ('form', 'body', 'model', 'version', 'start', 'tensor', 'hash')),
    postgresql=Compiled('UPDATE samples SET form=%s::VARCHAR COLLATE "C", body=%s WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start = %s::BIGINT AND samples.tensor = %s::VARCHAR COLLATE "C" AND samples.hash = %s::BIGINT', ('form', 'body', 'model', 'version', 'start', 'tensor', 'hash')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_samples_replace ( form TEXT COLLATE "C", body BYTEA, model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, tensor TEXT COLLATE "C", hash BIGINT )',
        copy='COPY staged_samples_replace FROM STDIN',
        run=Compiled('UPDATE samples SET form=staged_samples_replace.form, body=staged_samples_replace.body FROM staged_samples_replace WHERE samples.model = staged_samples_replace.model AND samples.version = staged_samples_replace.version AND samples.start = staged_samples_replace.start AND samples.tensor = staged_samples_replace.tensor AND samples.hash = staged_samples_replace.hash'),
        empty='TRUNCATE staged_samples_replace',
    ),
)
HASHES = Query(
    sqlite=Compiled('SELECT samples.hash FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start >= ? AND samples.start < ? AND samples.tensor = ?', ('model', 'version', 'start', 'end', 'tensor')),
    postgresql=Compiled('SELECT samples.hash FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start >= %s::BIGINT AND samples.start < %s::BIGINT AND samples.tensor = %s::VARCHAR COLLATE "C"', ('model', 'version', 'start', 'end', 'tensor')),
)
OF_WINDOW = Query(
    sqlite=Compiled('SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start >= ? AND samples.start < ? ORDER BY samples.tensor, samples.hash', ('model', 'version', 'start', 'end')),
    postgresql=Compiled('SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start >= %s::BIGINT AND samples.start < %s::BIGINT ORDER BY samples.tensor, samples.hash', ('model', 'version', 'start', 'end')),
)
FILES = Query(
    sqlite=Compiled("SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start >= ? AND samples.start < ? AND samples.form = 'file' ORDER BY samples.tensor, samples.hash", ('model', 'version', 'start', 'end')),
    postgresql=Compiled('SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start >= %s::BIGINT AND samples.start < %s::BIGINT AND samples.form = \'file\' ORDER BY samples.tensor, samples.hash', ('model', 'version', 'start', 'end')),
)
VECTORS = Query(
    sqlite=Compiled("SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start >= ? AND samples.start < ? AND samples.form = 'vector' AND samples.tensor = ? ORDER BY samples.tensor, samples.hash LIMIT ? OFFSET ?", ('model', 'version', 'start', 'end', 'tensor', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT samples.tensor, samples.hash, samples.start, samples.form, samples.body FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start >= %s::BIGINT AND samples.start < %s::BIGINT AND samples.form = \'vector\' AND samples.tensor = %s::VARCHAR COLLATE "C" ORDER BY samples.tensor, samples.hash LIMIT %s::BIGINT', ('model', 'version', 'start', 'end', 'tensor', 'limit')),
)
SWEEP = Query(
    sqlite=Compiled('DELETE FROM samples WHERE (samples.model, samples.version, samples.start, samples.tensor, samples.hash) IN (SELECT samples.model, samples.version, samples.start, samples.tensor, samples.hash FROM samples WHERE samples.model = ? AND samples.version = ? AND samples.start < ? LIMIT ? OFFSET ?)', ('model', 'version', 'until', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM samples WHERE (samples.model, samples.version, samples.start, samples.tensor, samples.hash) IN (SELECT samples.model, samples.version, samples.start, samples.tensor, samples.hash FROM samples WHERE samples.model = %s::VARCHAR COLLATE "C" AND samples.version = %s::VARCHAR COLLATE "C" AND samples.start < %s::BIGINT LIMIT %s::BIGINT)', ('model', 'version', 'until', 'limit')),
)
