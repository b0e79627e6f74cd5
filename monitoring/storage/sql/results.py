"""Statements on scorings and on the results of closed windows; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

NEWEST = Query(
    sqlite=Compiled('SELECT newest.body FROM results AS newest WHERE newest.model = ? AND newest.version = ? AND newest.start < ? AND newest.revision = (SELECT max(revisions.revision) AS max_1 FROM results AS revisions WHERE revisions.model = newest.model AND revisions.version = newest.version AND revisions.start = newest.start) ORDER BY newest.start DESC LIMIT ? OFFSET ?', ('model', 'version', 'before', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT newest.body FROM results AS newest WHERE newest.model = %s::VARCHAR COLLATE "C" AND newest.version = %s::VARCHAR COLLATE "C" AND newest.start < %s::BIGINT AND newest.revision = (SELECT max(revisions.revision) AS max_1 FROM results AS revisions WHERE revisions.model = newest.model AND revisions.version = newest.version AND revisions.start = newest.start) ORDER BY newest.start DESC LIMIT %s::BIGINT', ('model', 'version', 'before', 'limit')),
)
LATEST = Query(
    sqlite=Compiled('SELECT results.body FROM results WHERE results.model = ? AND results.version = ? AND results.start = ? ORDER BY results.revision DESC LIMIT ? OFFSET ?', ('model', 'version', 'start', 'param_1', 'param_2'), {'param_1': 1, 'param_2': 0}),
    postgresql=Compiled('SELECT results.body FROM results WHERE results.model = %s::VARCHAR COLLATE "C" AND results.version = %s::VARCHAR COLLATE "C" AND results.start = %s::BIGINT ORDER BY results.revision DESC LIMIT %s::INTEGER', ('model', 'version', 'start', 'param_1'), {'param_1': 1}),
)
START_BEFORE = Query(
    sqlite=Compiled('SELECT max(results.start) AS max_1 FROM results WHERE results.model = ? AND results.version = ? AND results.start < ?', ('model', 'version', 'start')),
    postgresql=Compiled('SELECT max(results.start) AS max_1 FROM results WHERE results.model = %s::VARCHAR COLLATE "C" AND results.version = %s::VARCHAR COLLATE "C" AND results.start < %s::BIGINT', ('model', 'version', 'start')),
)
START_AFTER = Query(
    sqlite=Compiled('SELECT min(results.start) AS min_1 FROM results WHERE results.model = ? AND results.version = ? AND results.start > ?', ('model', 'version', 'start')),
    postgresql=Compiled('SELECT min(results.start) AS min_1 FROM results WHERE results.model = %s::VARCHAR COLLATE "C" AND results.version = %s::VARCHAR COLLATE "C" AND results.start > %s::BIGINT', ('model', 'version', 'start')),
)
SAVE = RowQuery(
    columns=('model', 'version', 'start', 'revision', 'body'),
    sqlite=Compiled('INSERT INTO results (model, version, start, revision, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, version, start, revision) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'revision', 'body')),
    postgresql=Compiled('INSERT INTO results (model, version, start, revision, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s) ON CONFLICT (model, version, start, revision) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'revision', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_results_save ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, revision BIGINT, body BYTEA )',
        copy='COPY staged_results_save FROM STDIN',
        run=Compiled('INSERT INTO results (model, version, start, revision, body) SELECT staged_results_save.model, staged_results_save.version, staged_results_save.start, staged_results_save.revision, staged_results_save.body FROM staged_results_save ON CONFLICT (model, version, start, revision) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_results_save',
    ),
)
DELETE_REVISIONS = Query(
    sqlite=Compiled('DELETE FROM results WHERE results.model = ? AND results.version = ? AND results.start = ? AND results.revision < ?', ('model', 'version', 'start', 'revision')),
    postgresql=Compiled('DELETE FROM results WHERE results.model = %s::VARCHAR COLLATE "C" AND results.version = %s::VARCHAR COLLATE "C" AND results.start = %s::BIGINT AND results.revision < %s::BIGINT', ('model', 'version', 'start', 'revision')),
)
DELETE_BEFORE = Query(
    sqlite=Compiled('DELETE FROM results WHERE results.model = ? AND results.version = ? AND results.start < ?', ('model', 'version', 'until')),
    postgresql=Compiled('DELETE FROM results WHERE results.model = %s::VARCHAR COLLATE "C" AND results.version = %s::VARCHAR COLLATE "C" AND results.start < %s::BIGINT', ('model', 'version', 'until')),
)
CLOSED = Query(
    sqlite=Compiled('SELECT closed.body FROM closed WHERE closed.model = ? AND closed.version = ?', ('model', 'version')),
    postgresql=Compiled('SELECT closed.body FROM closed WHERE closed.model = %s::VARCHAR COLLATE "C" AND closed.version = %s::VARCHAR COLLATE "C"', ('model', 'version')),
)
SAVE_CLOSED = RowQuery(
    columns=('model', 'version', 'body'),
    sqlite=Compiled('INSERT INTO closed (model, version, body) VALUES (?, ?, ?) ON CONFLICT (model, version) DO UPDATE SET body = excluded.body', ('model', 'version', 'body')),
    postgresql=Compiled('INSERT INTO closed (model, version, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s) ON CONFLICT (model, version) DO UPDATE SET body = excluded.body', ('model', 'version', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_results_save_closed ( model TEXT COLLATE "C", version TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_results_save_closed FROM STDIN',
        run=Compiled('INSERT INTO closed (model, version, body) SELECT staged_results_save_closed.model, staged_results_save_closed.version, staged_results_save_closed.body FROM staged_results_save_closed ON CONFLICT (model, version) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_results_save_closed',
    ),
)
JOB_SIZES = Query(
    sqlite=Compiled('SELECT jobs.number, length(jobs.body) AS length_1 FROM jobs WHERE jobs.partition = ? ORDER BY jobs.number', ('partition',)),
    postgresql=Compiled('SELECT jobs.number, length(jobs.body) AS length_1 FROM jobs WHERE jobs.partition = %s::BIGINT ORDER BY jobs.number', ('partition',)),
)
LAST_JOB = Query(
    sqlite=Compiled('SELECT max(jobs.number) AS max_1 FROM jobs WHERE jobs.partition = ?', ('partition',)),
    postgresql=Compiled('SELECT max(jobs.number) AS max_1 FROM jobs WHERE jobs.partition = %s::BIGINT', ('partition',)),
)
JOB = Query(
    sqlite=Compiled('SELECT jobs.body FROM jobs WHERE jobs.partition = ? AND jobs.number = ?', ('partition', 'number')),
    postgresql=Compiled('SELECT jobs.body FROM jobs WHERE jobs.partition = %s::BIGINT AND jobs.number = %s::BIGINT', ('partition', 'number')),
)
COUNT_JOBS = Query(
    sqlite=Compiled('SELECT count(*) AS count_1 FROM jobs'),
    postgresql=Compiled('SELECT count(*) AS count_1 FROM jobs'),
)
ADD_JOB = RowQuery(
    columns=('partition', 'number', 'body'),
    sqlite=Compiled('INSERT INTO jobs (partition, number, body) VALUES (?, ?, ?)', ('partition', 'number', 'body')),
    postgresql=Compiled('INSERT INTO jobs (partition, number, body) VALUES (%s::BIGINT, %s::BIGINT, %s)', ('partition', 'number', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_results_add_job ( partition BIGINT, number BIGINT, body BYTEA )',
        copy='COPY staged_results_add_job FROM STDIN',
        run=Compiled('INSERT INTO jobs (partition, number, body) SELECT staged_results_add_job.partition, staged_results_add_job.number, staged_results_add_job.body FROM staged_results_add_job'),
        empty='TRUNCATE staged_results_add_job',
    ),
)
DELETE_JOB = Query(
    sqlite=Compiled('DELETE FROM jobs WHERE jobs.partition = ? AND jobs.number = ?', ('partition', 'number')),
    postgresql=Compiled('DELETE FROM jobs WHERE jobs.partition = %s::BIGINT AND jobs.number = %s::BIGINT', ('partition', 'number')),
)
