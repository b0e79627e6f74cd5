"""Statements on predicted rows and on labels that came before their prediction; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Lookup, Query, RowQuery, Staged

ADD = RowQuery(
    columns=('prediction_id', 'row', 'model', 'version', 'start', 'hash', 'body', 'label', 'time', 'predicted'),
    sqlite=Compiled('INSERT INTO predictions (prediction_id, "row", model, version, start, hash, body, label, time, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'model', 'version', 'start', 'hash', 'body', 'label', 'time', 'predicted')),
    postgresql=Compiled('INSERT INTO predictions (prediction_id, row, model, version, start, hash, body, label, time, told) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s, %s, %s::BIGINT, %s) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'model', 'version', 'start', 'hash', 'body', 'label', 'time', 'predicted')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_add ( prediction_id TEXT COLLATE "C", row BIGINT, model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, hash BIGINT, body BYTEA, label BYTEA, time BIGINT, predicted BYTEA )',
        copy='COPY staged_predictions_add FROM STDIN',
        run=Compiled('INSERT INTO predictions (prediction_id, row, model, version, start, hash, body, label, time, told) SELECT staged_predictions_add.prediction_id, staged_predictions_add.row, staged_predictions_add.model, staged_predictions_add.version, staged_predictions_add.start, staged_predictions_add.hash, staged_predictions_add.body, staged_predictions_add.label, staged_predictions_add.time, staged_predictions_add.predicted FROM staged_predictions_add ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_predictions_add',
    ),
)
LABEL = RowQuery(
    columns=('label', 'prediction_id', 'row'),
    sqlite=Compiled('UPDATE predictions SET label=? WHERE predictions.prediction_id = ? AND predictions."row" = ?', ('label', 'prediction_id', 'row')),
    postgresql=Compiled('UPDATE predictions SET label=%s WHERE predictions.prediction_id = %s::VARCHAR COLLATE "C" AND predictions.row = %s::BIGINT', ('label', 'prediction_id', 'row')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_label ( label BYTEA, prediction_id TEXT COLLATE "C", row BIGINT )',
        copy='COPY staged_predictions_label FROM STDIN',
        run=Compiled('UPDATE predictions SET label=staged_predictions_label.label FROM staged_predictions_label WHERE predictions.prediction_id = staged_predictions_label.prediction_id AND predictions.row = staged_predictions_label.row'),
        empty='TRUNCATE staged_predictions_label',
    ),
)
EVICT = RowQuery(
    columns=('model', 'version', 'start', 'hash'),
    sqlite=Compiled('UPDATE predictions SET body=NULL WHERE predictions.model = ? AND predictions.version = ? AND predictions.start = ? AND predictions.hash = ? AND predictions.body IS NOT NULL', ('model', 'version', 'start', 'hash')),
    postgresql=Compiled('UPDATE predictions SET body=NULL WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start = %s::BIGINT AND predictions.hash = %s::BIGINT AND predictions.body IS NOT NULL', ('model', 'version', 'start', 'hash')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_evict ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, hash BIGINT )',
        copy='COPY staged_predictions_evict FROM STDIN',
        run=Compiled('UPDATE predictions SET body=NULL FROM staged_predictions_evict WHERE predictions.model = staged_predictions_evict.model AND predictions.version = staged_predictions_evict.version AND predictions.start = staged_predictions_evict.start AND predictions.hash = staged_predictions_evict.hash AND predictions.body IS NOT NULL'),
        empty='TRUNCATE staged_predictions_evict',
    ),
)
EVICT_ABOVE = RowQuery(
    columns=('model', 'version', 'begin', 'end', 'hash'),
    sqlite=Compiled('UPDATE predictions SET body=NULL WHERE predictions.model = ? AND predictions.version = ? AND predictions.start >= ? AND predictions.start < ? AND predictions.hash > ? AND predictions.body IS NOT NULL', ('model', 'version', 'begin', 'end', 'hash')),
    postgresql=Compiled('UPDATE predictions SET body=NULL WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start >= %s::BIGINT AND predictions.start < %s::BIGINT AND predictions.hash > %s::BIGINT AND predictions.body IS NOT NULL', ('model', 'version', 'begin', 'end', 'hash')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_evict_above ( model TEXT COLLATE "C", version TEXT COLLATE "C", begin BIGINT, "end" BIGINT, hash BIGINT )',
        copy='COPY staged_predictions_evict_above FROM STDIN',
        run=Compiled('UPDATE predictions SET body=NULL FROM staged_predictions_evict_above WHERE predictions.model = staged_predictions_evict_above.model AND predictions.version = staged_predictions_evict_above.version AND predictions.start >= staged_predictions_evict_above.begin AND predictions.start < staged_predictions_evict_above."end" AND predictions.hash > staged_predictions_evict_above.hash AND predictions.body IS NOT NULL'),
        empty='TRUNCATE staged_predictions_evict_above',
    ),
)
OF_ID = Lookup(
    sqlite='SELECT predictions.prediction_id, predictions."row", predictions.model, predictions.version, predictions.start, predictions.hash, predictions.label, predictions.time, predictions.told FROM predictions WHERE predictions.prediction_id IN (?)',
    postgresql='SELECT predictions.prediction_id, predictions.row, predictions.model, predictions.version, predictions.start, predictions.hash, predictions.label, predictions.time, predictions.told FROM predictions WHERE predictions.prediction_id = ANY (%s::TEXT[])',
)
SAMPLED_HASHES = Query(
    sqlite=Compiled('SELECT predictions.hash FROM predictions WHERE predictions.model = ? AND predictions.version = ? AND predictions.start >= ? AND predictions.start < ? AND predictions.body IS NOT NULL', ('model', 'version', 'start', 'end')),
    postgresql=Compiled('SELECT predictions.hash FROM predictions WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start >= %s::BIGINT AND predictions.start < %s::BIGINT AND predictions.body IS NOT NULL', ('model', 'version', 'start', 'end')),
)
SAMPLE = Query(
    sqlite=Compiled('SELECT predictions.body, predictions.label, predictions.time, predictions.prediction_id, predictions."row" FROM predictions WHERE predictions.model = ? AND predictions.version = ? AND predictions.start >= ? AND predictions.start < ? AND predictions.body IS NOT NULL ORDER BY predictions.hash', ('model', 'version', 'start', 'end')),
    postgresql=Compiled('SELECT predictions.body, predictions.label, predictions.time, predictions.prediction_id, predictions.row FROM predictions WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start >= %s::BIGINT AND predictions.start < %s::BIGINT AND predictions.body IS NOT NULL ORDER BY predictions.hash', ('model', 'version', 'start', 'end')),
)
SMALLEST = Query(
    sqlite=Compiled('SELECT kept.body FROM (SELECT predictions.body AS body, predictions.time AS time, predictions.prediction_id AS prediction_id, predictions."row" AS "row" FROM predictions WHERE predictions.model = ? AND predictions.version = ? AND predictions.start >= ? AND predictions.start < ? AND predictions.body IS NOT NULL ORDER BY predictions.hash LIMIT ? OFFSET ?) AS kept ORDER BY kept.time, kept.prediction_id, kept."row"', ('model', 'version', 'start', 'end', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT kept.body FROM (SELECT predictions.body AS body, predictions.time AS time, predictions.prediction_id AS prediction_id, predictions.row AS row FROM predictions WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start >= %s::BIGINT AND predictions.start < %s::BIGINT AND predictions.body IS NOT NULL ORDER BY predictions.hash LIMIT %s::BIGINT) AS kept ORDER BY kept.time, kept.prediction_id, kept.row', ('model', 'version', 'start', 'end', 'limit')),
)
SWEEP_ROWS = Query(
    sqlite=Compiled('DELETE FROM predictions WHERE (predictions.prediction_id, predictions."row") IN (SELECT predictions.prediction_id, predictions."row" FROM predictions WHERE predictions.model = ? AND predictions.version = ? AND predictions.start < ? AND predictions.body IS NULL LIMIT ? OFFSET ?)', ('model', 'version', 'until', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM predictions WHERE (predictions.prediction_id, predictions.row) IN (SELECT predictions.prediction_id, predictions.row FROM predictions WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start < %s::BIGINT AND predictions.body IS NULL LIMIT %s::BIGINT)', ('model', 'version', 'until', 'limit')),
)
SWEEP_SAMPLES = Query(
    sqlite=Compiled('DELETE FROM predictions WHERE (predictions.prediction_id, predictions."row") IN (SELECT predictions.prediction_id, predictions."row" FROM predictions WHERE predictions.model = ? AND predictions.version = ? AND predictions.start < ? AND predictions.body IS NOT NULL LIMIT ? OFFSET ?)', ('model', 'version', 'until', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM predictions WHERE (predictions.prediction_id, predictions.row) IN (SELECT predictions.prediction_id, predictions.row FROM predictions WHERE predictions.model = %s::VARCHAR COLLATE "C" AND predictions.version = %s::VARCHAR COLLATE "C" AND predictions.start < %s::BIGINT AND predictions.body IS NOT NULL LIMIT %s::BIGINT)', ('model', 'version', 'until', 'limit')),
)
EARLY_UNTIL = Query(
    sqlite=Compiled("SELECT horizons.until FROM horizons WHERE horizons.name = 'early_labels' AND horizons.partition = ?", ('partition',)),
    postgresql=Compiled("SELECT horizons.until FROM horizons WHERE horizons.name = 'early_labels' AND horizons.partition = %s::BIGINT", ('partition',)),
)
ANY_EARLY = Query(
    sqlite=Compiled('SELECT 1 FROM early_labels WHERE early_labels.partition IN (?, -1) LIMIT 1 OFFSET ?', ('partition', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT 1 FROM early_labels WHERE early_labels.partition IN (%s::BIGINT, -1) LIMIT 1', ('partition',)),
)
EARLY = Lookup(
    sqlite='SELECT early_labels.prediction_id, early_labels."row", early_labels.label, early_labels.time, early_labels.received, early_labels.partition FROM early_labels WHERE early_labels.prediction_id IN (?)',
    postgresql='SELECT early_labels.prediction_id, early_labels.row, early_labels.label, early_labels.time, early_labels.received, early_labels.partition FROM early_labels WHERE early_labels.prediction_id = ANY (%s::TEXT[])',
)
COUNT_EARLY = Query(
    sqlite=Compiled('SELECT count(*) AS count_1 FROM early_labels WHERE early_labels.partition = ? AND early_labels.received >= ? AND early_labels.received < ?', ('partition', 'since', 'until')),
    postgresql=Compiled('SELECT count(*) AS count_1 FROM early_labels WHERE early_labels.partition = %s::BIGINT AND early_labels.received >= %s::BIGINT AND early_labels.received < %s::BIGINT', ('partition', 'since', 'until')),
)
COUNT_WAITING_EARLY = Query(
    sqlite=Compiled("SELECT count(*) AS count_1 FROM early_labels WHERE early_labels.received >= coalesce((SELECT horizons.until FROM horizons WHERE horizons.name = 'early_labels' AND horizons.partition = early_labels.partition), 0)"),
    postgresql=Compiled("SELECT count(*) AS count_1 FROM early_labels WHERE early_labels.received >= coalesce((SELECT horizons.until FROM horizons WHERE horizons.name = 'early_labels' AND horizons.partition = early_labels.partition), 0)"),
)
ADD_EARLY = RowQuery(
    columns=('prediction_id', 'row', 'label', 'time', 'received', 'partition'),
    sqlite=Compiled('INSERT INTO early_labels (prediction_id, "row", label, time, received, partition) VALUES (?, ?, ?, ?, ?, ?)', ('prediction_id', 'row', 'label', 'time', 'received', 'partition')),
    postgresql=Compiled('INSERT INTO early_labels (prediction_id, row, label, time, received, partition) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s, %s::BIGINT, %s::BIGINT, %s::BIGINT)', ('prediction_id', 'row', 'label', 'time', 'received', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_add_early ( prediction_id TEXT COLLATE "C", row BIGINT, label BYTEA, time BIGINT, received BIGINT, partition BIGINT )',
        copy='COPY staged_predictions_add_early FROM STDIN',
        run=Compiled('INSERT INTO early_labels (prediction_id, row, label, time, received, partition) SELECT staged_predictions_add_early.prediction_id, staged_predictions_add_early.row, staged_predictions_add_early.label, staged_predictions_add_early.time, staged_predictions_add_early.received, staged_predictions_add_early.partition FROM staged_predictions_add_early'),
        empty='TRUNCATE staged_predictions_add_early',
    ),
)
DELETE_EARLY = RowQuery(
    columns=('prediction_id', 'partition'),
    sqlite=Compiled('DELETE FROM early_labels WHERE early_labels.prediction_id = ? AND early_labels.partition IN (?, -1)', ('prediction_id', 'partition')),
    postgresql=Compiled('DELETE FROM early_labels WHERE early_labels.prediction_id = %s::VARCHAR COLLATE "C" AND early_labels.partition IN (%s::BIGINT, -1)', ('prediction_id', 'partition')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_predictions_delete_early ( prediction_id TEXT COLLATE "C", partition BIGINT )',
        copy='COPY staged_predictions_delete_early FROM STDIN',
        run=Compiled('DELETE FROM early_labels USING staged_predictions_delete_early WHERE early_labels.prediction_id = staged_predictions_delete_early.prediction_id AND early_labels.partition IN (staged_predictions_delete_early.partition, -1)'),
        empty='TRUNCATE staged_predictions_delete_early',
    ),
)
SWEEP_EARLY = Query(
    sqlite=Compiled('DELETE FROM early_labels WHERE (early_labels.prediction_id, early_labels."row") IN (SELECT early_labels.prediction_id, early_labels."row" FROM early_labels WHERE (early_labels.partition = ? OR 0 = ? AND early_labels.partition = -1) AND early_labels.received < ? LIMIT ? OFFSET ?)', ('partition', 'partition', 'until', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM early_labels WHERE (early_labels.prediction_id, early_labels.row) IN (SELECT early_labels.prediction_id, early_labels.row FROM early_labels WHERE (early_labels.partition = %s::BIGINT OR 0 = %s::BIGINT AND early_labels.partition = -1) AND early_labels.received < %s::BIGINT LIMIT %s::BIGINT)', ('partition', 'partition', 'until', 'limit')),
)
