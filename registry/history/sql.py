"""SQL of the history, by database; written by registry.history.statements."""

# fmt: off
# ruff: noqa: E501

VERSION_TABLE = 'registry_revision'
REVISION = '0003'
TABLES = (
    'CREATE TABLE history ( revision INTEGER NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL, number TEXT NOT NULL, time INTEGER NOT NULL, actor TEXT NOT NULL, alias TEXT NOT NULL, detail TEXT NOT NULL, digest TEXT NOT NULL, why TEXT NOT NULL, evidence TEXT NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (revision) );',
    'CREATE TABLE registry_revision ( version_num VARCHAR(32) NOT NULL, CONSTRAINT registry_revision_pkc PRIMARY KEY (version_num) );',
    'INSERT INTO "registry_revision" VALUES(\'0003\');',
    'CREATE TABLE workers ( worker TEXT NOT NULL, seen INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (worker) );',
    "CREATE VIEW moves AS SELECT revision, model, CASE kind WHEN 'loaded' THEN '+' WHEN 'unloaded' THEN '-' WHEN 'limits' THEN '=' WHEN 'policy' THEN '~' ELSE alias END AS alias, number, time AS moved, actor, detail FROM history;",
    "CREATE TRIGGER history_no_delete BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;",
    "CREATE TRIGGER history_no_update BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END;",
    'CREATE INDEX history_by_kind ON history (kind, model);',
    'CREATE INDEX history_by_model ON history (model, revision);',
)
SQLITE = {
    'REVISION': 'SELECT max(history.revision) AS max_1 FROM history',
    'HEAD': 'SELECT history.revision, history.chain FROM history WHERE history.revision = (SELECT max(history.revision) AS max_1 FROM history)',
    'CHANGED': 'SELECT DISTINCT history.model FROM history WHERE history.revision > :after',
    'MODELS': 'SELECT DISTINCT history.model FROM history WHERE history.kind = :of_kind',
    'OF_MODEL': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.model = :of_model ORDER BY history.revision',
    'OF_KIND': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.kind = :of_kind ORDER BY history.model, history.revision',
    'AFTER': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.revision > :after AND history.revision <= :until ORDER BY history.revision',
    'INSERT': 'INSERT INTO history (revision, model, kind, number, time, actor, alias, detail, digest, why, evidence, chain) VALUES (:n_revision, :n_model, :n_kind, :n_number, :n_time, :n_actor, :n_alias, :n_detail, :n_digest, :n_why, :n_evidence, :n_chain)',
    'WORKERS': "SELECT workers.body FROM workers WHERE workers.seen >= CAST(CAST(STRFTIME('%s', CURRENT_TIMESTAMP) AS INTEGER) AS BIGINT) - :age",
    'REMOVE_WORKER': 'DELETE FROM workers WHERE workers.worker = :of_worker',
    'EXPIRE_WORKERS': "DELETE FROM workers WHERE workers.seen < CAST(CAST(STRFTIME('%s', CURRENT_TIMESTAMP) AS INTEGER) AS BIGINT) - :age",
    'ADD_WORKER': "INSERT INTO workers (worker, seen, body) VALUES (:of_worker, CAST(CAST(STRFTIME('%s', CURRENT_TIMESTAMP) AS INTEGER) AS BIGINT), :n_body)",
}
POSTGRESQL = {
    'REVISION': 'SELECT max(history.revision) AS max_1 FROM history',
    'HEAD': 'SELECT history.revision, history.chain FROM history WHERE history.revision = (SELECT max(history.revision) AS max_1 FROM history)',
    'CHANGED': 'SELECT DISTINCT history.model FROM history WHERE history.revision > %(after)s::BIGINT',
    'MODELS': 'SELECT DISTINCT history.model FROM history WHERE history.kind = %(of_kind)s::VARCHAR COLLATE "C"',
    'OF_MODEL': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.model = %(of_model)s::VARCHAR COLLATE "C" ORDER BY history.revision',
    'OF_KIND': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.kind = %(of_kind)s::VARCHAR COLLATE "C" ORDER BY history.model, history.revision',
    'AFTER': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.revision > %(after)s::BIGINT AND history.revision <= %(until)s::BIGINT ORDER BY history.revision',
    'INSERT': 'INSERT INTO history (revision, model, kind, number, time, actor, alias, detail, digest, why, evidence, chain) VALUES (%(n_revision)s::BIGINT, %(n_model)s::VARCHAR COLLATE "C", %(n_kind)s::VARCHAR COLLATE "C", %(n_number)s::VARCHAR COLLATE "C", %(n_time)s::BIGINT, %(n_actor)s::VARCHAR COLLATE "C", %(n_alias)s::VARCHAR COLLATE "C", %(n_detail)s::VARCHAR COLLATE "C", %(n_digest)s::VARCHAR COLLATE "C", %(n_why)s::VARCHAR COLLATE "C", %(n_evidence)s::VARCHAR COLLATE "C", %(n_chain)s::VARCHAR COLLATE "C")',
    'WORKERS': 'SELECT workers.body FROM workers WHERE workers.seen >= CAST(EXTRACT(epoch FROM now()) AS BIGINT) - %(age)s::BIGINT',
    'REMOVE_WORKER': 'DELETE FROM workers WHERE workers.worker = %(of_worker)s::VARCHAR COLLATE "C"',
    'EXPIRE_WORKERS': 'DELETE FROM workers WHERE workers.seen < CAST(EXTRACT(epoch FROM now()) AS BIGINT) - %(age)s::BIGINT',
    'ADD_WORKER': 'INSERT INTO workers (worker, seen, body) VALUES (%(of_worker)s::VARCHAR COLLATE "C", CAST(EXTRACT(epoch FROM now()) AS BIGINT), %(n_body)s::VARCHAR)',
}
