"""Statements on the partitions of a shared log and the monitors that hold them; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

ALL = Query(
    sqlite=Compiled('SELECT partitions.partition, partitions.holder, partitions.since, partitions.reported, partitions.behind, partitions.oldest FROM partitions ORDER BY partitions.partition'),
    postgresql=Compiled('SELECT partitions.partition, partitions.holder, partitions.since, partitions.reported, partitions.behind, partitions.oldest FROM partitions ORDER BY partitions.partition'),
)
REPORT = RowQuery(
    columns=('partition', 'holder', 'since', 'reported', 'behind', 'oldest'),
    sqlite=Compiled('INSERT INTO partitions (partition, holder, since, reported, behind, oldest) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (partition) DO UPDATE SET holder = excluded.holder, since = excluded.since, reported = excluded.reported, behind = excluded.behind, oldest = excluded.oldest', ('partition', 'holder', 'since', 'reported', 'behind', 'oldest')),
    postgresql=Compiled('INSERT INTO partitions (partition, holder, since, reported, behind, oldest) VALUES (%s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s::BIGINT, %s::BIGINT) ON CONFLICT (partition) DO UPDATE SET holder = excluded.holder, since = excluded.since, reported = excluded.reported, behind = excluded.behind, oldest = excluded.oldest', ('partition', 'holder', 'since', 'reported', 'behind', 'oldest')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_report ( partition BIGINT, holder TEXT COLLATE "C", since BIGINT, reported BIGINT, behind BIGINT, oldest BIGINT )',
        copy='COPY staged_partitions_report FROM STDIN',
        run=Compiled('INSERT INTO partitions (partition, holder, since, reported, behind, oldest) SELECT staged_partitions_report.partition, staged_partitions_report.holder, staged_partitions_report.since, staged_partitions_report.reported, staged_partitions_report.behind, staged_partitions_report.oldest FROM staged_partitions_report ON CONFLICT (partition) DO UPDATE SET holder = excluded.holder, since = excluded.since, reported = excluded.reported, behind = excluded.behind, oldest = excluded.oldest'),
        empty='TRUNCATE staged_partitions_report',
    ),
)
RELEASE = RowQuery(
    columns=('partition', 'holder'),
    sqlite=Compiled("UPDATE partitions SET holder='' WHERE partitions.partition = ? AND partitions.holder = ?", ('partition', 'holder')),
    postgresql=Compiled('UPDATE partitions SET holder=\'\' WHERE partitions.partition = %s::BIGINT AND partitions.holder = %s::VARCHAR COLLATE "C"', ('partition', 'holder')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_release ( partition BIGINT, holder TEXT COLLATE "C" )',
        copy='COPY staged_partitions_release FROM STDIN',
        run=Compiled("UPDATE partitions SET holder='' FROM staged_partitions_release WHERE partitions.partition = staged_partitions_release.partition AND partitions.holder = staged_partitions_release.holder"),
        empty='TRUNCATE staged_partitions_release',
    ),
)
DELETE_FROM = Query(
    sqlite=Compiled('DELETE FROM partitions WHERE partitions.partition >= ?', ('partition',)),
    postgresql=Compiled('DELETE FROM partitions WHERE partitions.partition >= %s::BIGINT', ('partition',)),
)
VERSIONS = Query(
    sqlite=Compiled('SELECT watches.model, watches.version FROM watches'),
    postgresql=Compiled('SELECT watches.model, watches.version FROM watches'),
)
MOVE_VERSION = RowQuery(
    columns=('partition', 'model', 'version'),
    sqlite=Compiled('UPDATE watches SET partition=? WHERE watches.model = ? AND watches.version = ?', ('partition', 'model', 'version')),
    postgresql=Compiled('UPDATE watches SET partition=%s::BIGINT WHERE watches.model = %s::VARCHAR COLLATE "C" AND watches.version = %s::VARCHAR COLLATE "C"', ('partition', 'model', 'version')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_move_version ( partition BIGINT, model TEXT COLLATE "C", version TEXT COLLATE "C" )',
        copy='COPY staged_partitions_move_version FROM STDIN',
        run=Compiled('UPDATE watches SET partition=staged_partitions_move_version.partition FROM staged_partitions_move_version WHERE watches.model = staged_partitions_move_version.model AND watches.version = staged_partitions_move_version.version'),
        empty='TRUNCATE staged_partitions_move_version',
    ),
)
LABELS = Query(
    sqlite=Compiled('SELECT DISTINCT early_labels.prediction_id FROM early_labels'),
    postgresql=Compiled('SELECT DISTINCT early_labels.prediction_id FROM early_labels'),
)
MOVE_LABEL = RowQuery(
    columns=('partition', 'prediction_id'),
    sqlite=Compiled('UPDATE early_labels SET partition=? WHERE early_labels.prediction_id = ?', ('partition', 'prediction_id')),
    postgresql=Compiled('UPDATE early_labels SET partition=%s::BIGINT WHERE early_labels.prediction_id = %s::VARCHAR COLLATE "C"', ('partition', 'prediction_id')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_move_label ( partition BIGINT, prediction_id TEXT COLLATE "C" )',
        copy='COPY staged_partitions_move_label FROM STDIN',
        run=Compiled('UPDATE early_labels SET partition=staged_partitions_move_label.partition FROM staged_partitions_move_label WHERE early_labels.prediction_id = staged_partitions_move_label.prediction_id'),
        empty='TRUNCATE staged_partitions_move_label',
    ),
)
LETTERS = Query(
    sqlite=Compiled('SELECT dead_letters.number, dead_letters.body FROM dead_letters'),
    postgresql=Compiled('SELECT dead_letters.number, dead_letters.body FROM dead_letters'),
)
MOVE_LETTER = RowQuery(
    columns=('partition', 'number'),
    sqlite=Compiled('UPDATE dead_letters SET partition=? WHERE dead_letters.number = ?', ('partition', 'number')),
    postgresql=Compiled('UPDATE dead_letters SET partition=%s::BIGINT WHERE dead_letters.number = %s::BIGINT', ('partition', 'number')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_move_letter ( partition BIGINT, number BIGINT )',
        copy='COPY staged_partitions_move_letter FROM STDIN',
        run=Compiled('UPDATE dead_letters SET partition=staged_partitions_move_letter.partition FROM staged_partitions_move_letter WHERE dead_letters.number = staged_partitions_move_letter.number'),
        empty='TRUNCATE staged_partitions_move_letter',
    ),
)
MOVE_CHAIN = RowQuery(
    columns=('partition', 'source', 'shard'),
    sqlite=Compiled('UPDATE chains SET partition=? WHERE chains.source = ? AND chains.shard = ?', ('partition', 'source', 'shard')),
    postgresql=Compiled('UPDATE chains SET partition=%s::BIGINT WHERE chains.source = %s::VARCHAR COLLATE "C" AND chains.shard = %s::VARCHAR COLLATE "C"', ('partition', 'source', 'shard')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_move_chain ( partition BIGINT, source TEXT COLLATE "C", shard TEXT COLLATE "C" )',
        copy='COPY staged_partitions_move_chain FROM STDIN',
        run=Compiled('UPDATE chains SET partition=staged_partitions_move_chain.partition FROM staged_partitions_move_chain WHERE chains.source = staged_partitions_move_chain.source AND chains.shard = staged_partitions_move_chain.shard'),
        empty='TRUNCATE staged_partitions_move_chain',
    ),
)
MOVE_POSITION = RowQuery(
    columns=('partition', 'source'),
    sqlite=Compiled('UPDATE positions SET partition=? WHERE positions.source = ?', ('partition', 'source')),
    postgresql=Compiled('UPDATE positions SET partition=%s::BIGINT WHERE positions.source = %s::VARCHAR COLLATE "C"', ('partition', 'source')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_partitions_move_position ( partition BIGINT, source TEXT COLLATE "C" )',
        copy='COPY staged_partitions_move_position FROM STDIN',
        run=Compiled('UPDATE positions SET partition=staged_partitions_move_position.partition FROM staged_partitions_move_position WHERE positions.source = staged_partitions_move_position.source'),
        empty='TRUNCATE staged_partitions_move_position',
    ),
)
DELETE_LEDGERS = Query(
    sqlite=Compiled('DELETE FROM ledger'),
    postgresql=Compiled('DELETE FROM ledger'),
)
HORIZONS = Query(
    sqlite=Compiled('SELECT horizons.name, horizons.until FROM horizons'),
    postgresql=Compiled('SELECT horizons.name, horizons.until FROM horizons'),
)
