"""Statements on the review queue: rows that people label; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Lookup, Query, RowQuery, Staged

ADD = RowQuery(
    columns=('prediction_id', 'row', 'model', 'version', 'start', 'time', 'place', 'body', 'decision'),
    sqlite=Compiled('INSERT INTO review_rows (prediction_id, "row", model, version, start, time, place, body, decision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'model', 'version', 'start', 'time', 'place', 'body', 'decision')),
    postgresql=Compiled('INSERT INTO review_rows (prediction_id, row, model, version, start, time, place, body, decision) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::BIGINT, %s::BIGINT, %s, %s) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'model', 'version', 'start', 'time', 'place', 'body', 'decision')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_add ( prediction_id TEXT COLLATE "C", row BIGINT, model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, time BIGINT, place BIGINT, body BYTEA, decision BYTEA )',
        copy='COPY staged_reviews_add FROM STDIN',
        run=Compiled('INSERT INTO review_rows (prediction_id, row, model, version, start, time, place, body, decision) SELECT staged_reviews_add.prediction_id, staged_reviews_add.row, staged_reviews_add.model, staged_reviews_add.version, staged_reviews_add.start, staged_reviews_add.time, staged_reviews_add.place, staged_reviews_add.body, staged_reviews_add.decision FROM staged_reviews_add ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_reviews_add',
    ),
)
DROP = RowQuery(
    columns=('prediction_id', 'row'),
    sqlite=Compiled('DELETE FROM review_rows WHERE review_rows.prediction_id = ? AND review_rows."row" = ?', ('prediction_id', 'row')),
    postgresql=Compiled('DELETE FROM review_rows WHERE review_rows.prediction_id = %s::VARCHAR COLLATE "C" AND review_rows.row = %s::BIGINT', ('prediction_id', 'row')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_drop ( prediction_id TEXT COLLATE "C", row BIGINT )',
        copy='COPY staged_reviews_drop FROM STDIN',
        run=Compiled('DELETE FROM review_rows USING staged_reviews_drop WHERE review_rows.prediction_id = staged_reviews_drop.prediction_id AND review_rows.row = staged_reviews_drop.row'),
        empty='TRUNCATE staged_reviews_drop',
    ),
)
PICK = RowQuery(
    columns=('place', 'body', 'prediction_id', 'row'),
    sqlite=Compiled('UPDATE review_rows SET place=?, body=? WHERE review_rows.prediction_id = ? AND review_rows."row" = ?', ('place', 'body', 'prediction_id', 'row')),
    postgresql=Compiled('UPDATE review_rows SET place=%s::BIGINT, body=%s WHERE review_rows.prediction_id = %s::VARCHAR COLLATE "C" AND review_rows.row = %s::BIGINT', ('place', 'body', 'prediction_id', 'row')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_pick ( place BIGINT, body BYTEA, prediction_id TEXT COLLATE "C", row BIGINT )',
        copy='COPY staged_reviews_pick FROM STDIN',
        run=Compiled('UPDATE review_rows SET place=staged_reviews_pick.place, body=staged_reviews_pick.body FROM staged_reviews_pick WHERE review_rows.prediction_id = staged_reviews_pick.prediction_id AND review_rows.row = staged_reviews_pick.row'),
        empty='TRUNCATE staged_reviews_pick',
    ),
)
DECIDE = RowQuery(
    columns=('decision', 'prediction_id', 'row'),
    sqlite=Compiled('UPDATE review_rows SET decision=? WHERE review_rows.prediction_id = ? AND review_rows."row" = ?', ('decision', 'prediction_id', 'row')),
    postgresql=Compiled('UPDATE review_rows SET decision=%s WHERE review_rows.prediction_id = %s::VARCHAR COLLATE "C" AND review_rows.row = %s::BIGINT', ('decision', 'prediction_id', 'row')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_decide ( decision BYTEA, prediction_id TEXT COLLATE "C", row BIGINT )',
        copy='COPY staged_reviews_decide FROM STDIN',
        run=Compiled('UPDATE review_rows SET decision=staged_reviews_decide.decision FROM staged_reviews_decide WHERE review_rows.prediction_id = staged_reviews_decide.prediction_id AND review_rows.row = staged_reviews_decide.row'),
        empty='TRUNCATE staged_reviews_decide',
    ),
)
CANDIDATES = Query(
    sqlite=Compiled('SELECT review_rows.prediction_id, review_rows."row", review_rows.body FROM review_rows WHERE review_rows.model = ? AND review_rows.version = ? AND review_rows.start = ? AND review_rows.place IS NULL ORDER BY review_rows.prediction_id, review_rows."row"', ('model', 'version', 'start')),
    postgresql=Compiled('SELECT review_rows.prediction_id, review_rows.row, review_rows.body FROM review_rows WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.version = %s::VARCHAR COLLATE "C" AND review_rows.start = %s::BIGINT AND review_rows.place IS NULL ORDER BY review_rows.prediction_id, review_rows.row', ('model', 'version', 'start')),
)
OF_ID = Lookup(
    sqlite='SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows."row", review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.place IS NOT NULL AND review_rows.prediction_id IN (?)',
    postgresql='SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows.row, review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.place IS NOT NULL AND review_rows.prediction_id = ANY (%s::TEXT[])',
)
DECIDED = Query(
    sqlite=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows."row", review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.model = ? AND review_rows.version = ? AND review_rows.time >= ? AND review_rows.time < ? AND review_rows.decision IS NOT NULL ORDER BY review_rows.prediction_id, review_rows."row"', ('model', 'version', 'begin', 'end')),
    postgresql=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows.row, review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.version = %s::VARCHAR COLLATE "C" AND review_rows.time >= %s::BIGINT AND review_rows.time < %s::BIGINT AND review_rows.decision IS NOT NULL ORDER BY review_rows.prediction_id, review_rows.row', ('model', 'version', 'begin', 'end')),
)
SWEEP = Query(
    sqlite=Compiled('DELETE FROM review_rows WHERE (review_rows.prediction_id, review_rows."row") IN (SELECT review_rows.prediction_id, review_rows."row" FROM review_rows WHERE review_rows.model = ? AND review_rows.version = ? AND review_rows.time < ? LIMIT ? OFFSET ?)', ('model', 'version', 'until', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM review_rows WHERE (review_rows.prediction_id, review_rows.row) IN (SELECT review_rows.prediction_id, review_rows.row FROM review_rows WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.version = %s::VARCHAR COLLATE "C" AND review_rows.time < %s::BIGINT LIMIT %s::BIGINT)', ('model', 'version', 'until', 'limit')),
)
SAVE_PERIOD = RowQuery(
    columns=('model', 'version', 'start', 'body'),
    sqlite=Compiled('INSERT INTO review_periods (model, version, start, body) VALUES (?, ?, ?, ?) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    postgresql=Compiled('INSERT INTO review_periods (model, version, start, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s) ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body', ('model', 'version', 'start', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_save_period ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, body BYTEA )',
        copy='COPY staged_reviews_save_period FROM STDIN',
        run=Compiled('INSERT INTO review_periods (model, version, start, body) SELECT staged_reviews_save_period.model, staged_reviews_save_period.version, staged_reviews_save_period.start, staged_reviews_save_period.body FROM staged_reviews_save_period ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_reviews_save_period',
    ),
)
PERIODS = Query(
    sqlite=Compiled('SELECT review_periods.start, review_periods.body FROM review_periods WHERE review_periods.model = ? AND review_periods.version = ? ORDER BY review_periods.start', ('model', 'version')),
    postgresql=Compiled('SELECT review_periods.start, review_periods.body FROM review_periods WHERE review_periods.model = %s::VARCHAR COLLATE "C" AND review_periods.version = %s::VARCHAR COLLATE "C" ORDER BY review_periods.start', ('model', 'version')),
)
DELETE_PERIOD = RowQuery(
    columns=('model', 'version', 'start'),
    sqlite=Compiled('DELETE FROM review_periods WHERE review_periods.model = ? AND review_periods.version = ? AND review_periods.start = ?', ('model', 'version', 'start')),
    postgresql=Compiled('DELETE FROM review_periods WHERE review_periods.model = %s::VARCHAR COLLATE "C" AND review_periods.version = %s::VARCHAR COLLATE "C" AND review_periods.start = %s::BIGINT', ('model', 'version', 'start')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_delete_period ( model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT )',
        copy='COPY staged_reviews_delete_period FROM STDIN',
        run=Compiled('DELETE FROM review_periods USING staged_reviews_delete_period WHERE review_periods.model = staged_reviews_delete_period.model AND review_periods.version = staged_reviews_delete_period.version AND review_periods.start = staged_reviews_delete_period.start'),
        empty='TRUNCATE staged_reviews_delete_period',
    ),
)
FREE = Query(
    sqlite=Compiled('SELECT review_rows.prediction_id, review_rows."row" FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.model = ? AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') AND (review_leases.until IS NULL OR review_leases.until <= ? OR review_leases.holder = ?) ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows."row" LIMIT ? OFFSET ?', ('model', 'now', 'holder', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT review_rows.prediction_id, review_rows.row FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') AND (review_leases.until IS NULL OR review_leases.until <= %s::BIGINT OR review_leases.holder = %s::VARCHAR COLLATE "C") ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows.row LIMIT %s::BIGINT', ('model', 'now', 'holder', 'limit')),
)
LEASED_ROWS = Query(
    sqlite=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows."row", review_rows.body, review_rows.decision FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.model = ? AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') AND review_leases.holder = ? AND review_leases.until > ? ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows."row" LIMIT ? OFFSET ?', ('model', 'holder', 'now', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows.row, review_rows.body, review_rows.decision FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') AND review_leases.holder = %s::VARCHAR COLLATE "C" AND review_leases.until > %s::BIGINT ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows.row LIMIT %s::BIGINT', ('model', 'holder', 'now', 'limit')),
)
OPEN = Query(
    sqlite=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows."row", review_rows.body, review_rows.decision FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.model = ? AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows."row" LIMIT ? OFFSET ?', ('model', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows.row, review_rows.body, review_rows.decision FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows.row LIMIT %s::BIGINT', ('model', 'limit')),
)
COUNT_OPEN = Query(
    sqlite=Compiled('SELECT review_rows.model, count(*) AS count_1 FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = \'leased\') GROUP BY review_rows.model'),
    postgresql=Compiled("SELECT review_rows.model, count(*) AS count_1 FROM review_rows LEFT OUTER JOIN review_leases ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.place IS NOT NULL AND (review_rows.decision IS NULL AND review_leases.state IS NULL OR review_leases.state = 'leased') GROUP BY review_rows.model"),
)
MODELS = Query(
    sqlite=Compiled('SELECT review_rows.model, count(*) AS count_1 FROM review_rows WHERE review_rows.place IS NOT NULL GROUP BY review_rows.model'),
    postgresql=Compiled('SELECT review_rows.model, count(*) AS count_1 FROM review_rows WHERE review_rows.place IS NOT NULL GROUP BY review_rows.model'),
)
PICKED = Query(
    sqlite=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows."row", review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.model = ? AND review_rows.place IS NOT NULL ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows."row" LIMIT ? OFFSET ?', ('model', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT review_rows.model, review_rows.version, review_rows.prediction_id, review_rows.row, review_rows.body, review_rows.decision FROM review_rows WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_rows.place IS NOT NULL ORDER BY review_rows.start DESC, review_rows.place, review_rows.prediction_id, review_rows.row LIMIT %s::BIGINT', ('model', 'limit')),
)
ADD_LEASE = RowQuery(
    columns=('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at'),
    sqlite=Compiled('INSERT INTO review_leases (prediction_id, "row", holder, until, state, why, at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at')),
    postgresql=Compiled('INSERT INTO review_leases (prediction_id, row, holder, until, state, why, at) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT DO NOTHING', ('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_add_lease ( prediction_id TEXT COLLATE "C", row BIGINT, holder TEXT COLLATE "C", until BIGINT, state TEXT COLLATE "C", why TEXT COLLATE "C", at BIGINT )',
        copy='COPY staged_reviews_add_lease FROM STDIN',
        run=Compiled('INSERT INTO review_leases (prediction_id, row, holder, until, state, why, at) SELECT staged_reviews_add_lease.prediction_id, staged_reviews_add_lease.row, staged_reviews_add_lease.holder, staged_reviews_add_lease.until, staged_reviews_add_lease.state, staged_reviews_add_lease.why, staged_reviews_add_lease.at FROM staged_reviews_add_lease ON CONFLICT DO NOTHING'),
        empty='TRUNCATE staged_reviews_add_lease',
    ),
)
TAKE_LEASE = RowQuery(
    columns=('holder', 'until', 'at', 'prediction_id', 'row'),
    sqlite=Compiled('UPDATE review_leases SET holder=?, until=?, at=? WHERE review_leases.prediction_id = ? AND review_leases."row" = ? AND review_leases.state = \'leased\' AND (review_leases.holder = ? OR review_leases.until <= ?)', ('holder', 'until', 'at', 'prediction_id', 'row', 'holder', 'at')),
    postgresql=Compiled('UPDATE review_leases SET holder=%s::VARCHAR COLLATE "C", until=%s::BIGINT, at=%s::BIGINT WHERE review_leases.prediction_id = %s::VARCHAR COLLATE "C" AND review_leases.row = %s::BIGINT AND review_leases.state = \'leased\' AND (review_leases.holder = %s::VARCHAR COLLATE "C" OR review_leases.until <= %s::BIGINT)', ('holder', 'until', 'at', 'prediction_id', 'row', 'holder', 'at')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_take_lease ( holder TEXT COLLATE "C", until BIGINT, at BIGINT, prediction_id TEXT COLLATE "C", row BIGINT )',
        copy='COPY staged_reviews_take_lease FROM STDIN',
        run=Compiled("UPDATE review_leases SET holder=staged_reviews_take_lease.holder, until=staged_reviews_take_lease.until, at=staged_reviews_take_lease.at FROM staged_reviews_take_lease WHERE review_leases.prediction_id = staged_reviews_take_lease.prediction_id AND review_leases.row = staged_reviews_take_lease.row AND review_leases.state = 'leased' AND (review_leases.holder = staged_reviews_take_lease.holder OR review_leases.until <= staged_reviews_take_lease.at)"),
        empty='TRUNCATE staged_reviews_take_lease',
    ),
)
LEASE = Query(
    sqlite=Compiled('SELECT review_leases.holder, review_leases.until, review_leases.state, review_leases.why, review_leases.at FROM review_leases WHERE review_leases.prediction_id = ? AND review_leases."row" = ?', ('prediction_id', 'row')),
    postgresql=Compiled('SELECT review_leases.holder, review_leases.until, review_leases.state, review_leases.why, review_leases.at FROM review_leases WHERE review_leases.prediction_id = %s::VARCHAR COLLATE "C" AND review_leases.row = %s::BIGINT', ('prediction_id', 'row')),
)
SAVE_LEASE = RowQuery(
    columns=('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at'),
    sqlite=Compiled('INSERT INTO review_leases (prediction_id, "row", holder, until, state, why, at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prediction_id, "row") DO UPDATE SET holder = excluded.holder, until = excluded.until, state = excluded.state, why = excluded.why, at = excluded.at', ('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at')),
    postgresql=Compiled('INSERT INTO review_leases (prediction_id, row, holder, until, state, why, at) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT) ON CONFLICT (prediction_id, row) DO UPDATE SET holder = excluded.holder, until = excluded.until, state = excluded.state, why = excluded.why, at = excluded.at', ('prediction_id', 'row', 'holder', 'until', 'state', 'why', 'at')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_reviews_save_lease ( prediction_id TEXT COLLATE "C", row BIGINT, holder TEXT COLLATE "C", until BIGINT, state TEXT COLLATE "C", why TEXT COLLATE "C", at BIGINT )',
        copy='COPY staged_reviews_save_lease FROM STDIN',
        run=Compiled('INSERT INTO review_leases (prediction_id, row, holder, until, state, why, at) SELECT staged_reviews_save_lease.prediction_id, staged_reviews_save_lease.row, staged_reviews_save_lease.holder, staged_reviews_save_lease.until, staged_reviews_save_lease.state, staged_reviews_save_lease.why, staged_reviews_save_lease.at FROM staged_reviews_save_lease ON CONFLICT (prediction_id, row) DO UPDATE SET holder = excluded.holder, until = excluded.until, state = excluded.state, why = excluded.why, at = excluded.at'),
        empty='TRUNCATE staged_reviews_save_lease',
    ),
)
LAST_ACTION = Query(
    sqlite=Compiled('SELECT review_leases.prediction_id, review_leases."row", review_leases.state FROM review_leases JOIN review_rows ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.model = ? AND review_leases.holder = ? AND review_leases.state != \'leased\' ORDER BY review_leases.at DESC LIMIT ? OFFSET ?', ('model', 'holder', 'limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('SELECT review_leases.prediction_id, review_leases.row, review_leases.state FROM review_leases JOIN review_rows ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.model = %s::VARCHAR COLLATE "C" AND review_leases.holder = %s::VARCHAR COLLATE "C" AND review_leases.state != \'leased\' ORDER BY review_leases.at DESC LIMIT %s::BIGINT', ('model', 'holder', 'limit')),
)
SWEEP_LEASES = Query(
    sqlite=Compiled('DELETE FROM review_leases WHERE (review_leases.prediction_id, review_leases."row") IN (SELECT review_leases.prediction_id, review_leases."row" FROM review_leases LEFT OUTER JOIN review_rows ON review_leases.prediction_id = review_rows.prediction_id AND review_leases."row" = review_rows."row" WHERE review_rows.prediction_id IS NULL LIMIT ? OFFSET ?)', ('limit', 'param_1'), {'param_1': 0}),
    postgresql=Compiled('DELETE FROM review_leases WHERE (review_leases.prediction_id, review_leases.row) IN (SELECT review_leases.prediction_id, review_leases.row FROM review_leases LEFT OUTER JOIN review_rows ON review_leases.prediction_id = review_rows.prediction_id AND review_leases.row = review_rows.row WHERE review_rows.prediction_id IS NULL LIMIT %s::BIGINT)', ('limit',)),
)
