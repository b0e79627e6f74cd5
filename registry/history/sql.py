"""SQL of the history, by database; written by registry.history.statements."""

# fmt: off
# ruff: noqa: E501

VERSION_TABLE = 'registry_revision'
REVISION = '0001'
SQLITE = {
    'REVISION': 'SELECT max(history.revision) AS max_1 FROM history',
    'HEAD': 'SELECT history.revision, history.chain FROM history WHERE history.revision = (SELECT max(history.revision) AS max_1 FROM history)',
    'CHANGED': 'SELECT DISTINCT history.model FROM history WHERE history.revision > :after',
    'MODELS': 'SELECT DISTINCT history.model FROM history WHERE history.kind = :of_kind',
    'OF_MODEL': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.model = :of_model ORDER BY history.revision',
    'AFTER': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.revision > :after AND history.revision <= :until ORDER BY history.revision',
    'INSERT': 'INSERT INTO history (revision, model, kind, number, time, actor, alias, detail, digest, why, evidence, chain) VALUES (:n_revision, :n_model, :n_kind, :n_number, :n_time, :n_actor, :n_alias, :n_detail, :n_digest, :n_why, :n_evidence, :n_chain)',
}
POSTGRESQL = {
    'REVISION': 'SELECT max(history.revision) AS max_1 FROM history',
    'HEAD': 'SELECT history.revision, history.chain FROM history WHERE history.revision = (SELECT max(history.revision) AS max_1 FROM history)',
    'CHANGED': 'SELECT DISTINCT history.model FROM history WHERE history.revision > %(after)s::BIGINT',
    'MODELS': 'SELECT DISTINCT history.model FROM history WHERE history.kind = %(of_kind)s::VARCHAR COLLATE "C"',
    'OF_MODEL': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.model = %(of_model)s::VARCHAR COLLATE "C" ORDER BY history.revision',
    'AFTER': 'SELECT history.revision, history.model, history.kind, history.number, history.time, history.actor, history.alias, history.detail, history.digest, history.why, history.evidence, history.chain FROM history WHERE history.revision > %(after)s::BIGINT AND history.revision <= %(until)s::BIGINT ORDER BY history.revision',
    'INSERT': 'INSERT INTO history (revision, model, kind, number, time, actor, alias, detail, digest, why, evidence, chain) VALUES (%(n_revision)s::BIGINT, %(n_model)s::VARCHAR COLLATE "C", %(n_kind)s::VARCHAR COLLATE "C", %(n_number)s::VARCHAR COLLATE "C", %(n_time)s::BIGINT, %(n_actor)s::VARCHAR COLLATE "C", %(n_alias)s::VARCHAR COLLATE "C", %(n_detail)s::VARCHAR COLLATE "C", %(n_digest)s::VARCHAR COLLATE "C", %(n_why)s::VARCHAR COLLATE "C", %(n_evidence)s::VARCHAR COLLATE "C", %(n_chain)s::VARCHAR COLLATE "C")',
}
