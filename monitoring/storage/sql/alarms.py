"""Statements on alarms, the states of rules, and silences; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Query, RowQuery, Staged

ALARMS = Query(
    sqlite=Compiled('SELECT alarms.body FROM alarms ORDER BY alarms.number DESC, alarms.alarm_id'),
    postgresql=Compiled('SELECT alarms.body FROM alarms ORDER BY alarms.number DESC, alarms.alarm_id'),
)
ALARM = Query(
    sqlite=Compiled('SELECT alarms.body FROM alarms WHERE alarms.alarm_id = ?', ('alarm_id',)),
    postgresql=Compiled('SELECT alarms.body FROM alarms WHERE alarms.alarm_id = %s::VARCHAR COLLATE "C"', ('alarm_id',)),
)
SAVE = RowQuery(
    columns=('alarm_id', 'number', 'body'),
    sqlite=Compiled('INSERT INTO alarms (alarm_id, number, body) VALUES (?, ?, ?) ON CONFLICT (alarm_id) DO UPDATE SET body = excluded.body', ('alarm_id', 'number', 'body')),
    postgresql=Compiled('INSERT INTO alarms (alarm_id, number, body) VALUES (%s::VARCHAR COLLATE "C", %s::BIGINT, %s) ON CONFLICT (alarm_id) DO UPDATE SET body = excluded.body', ('alarm_id', 'number', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_save ( alarm_id TEXT COLLATE "C", number BIGINT, body BYTEA )',
        copy='COPY staged_alarms_save FROM STDIN',
        run=Compiled('INSERT INTO alarms (alarm_id, number, body) SELECT staged_alarms_save.alarm_id, staged_alarms_save.number, staged_alarms_save.body FROM staged_alarms_save ON CONFLICT (alarm_id) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_alarms_save',
    ),
)
CHANGE = RowQuery(
    columns=('body', 'alarm_id'),
    sqlite=Compiled('UPDATE alarms SET body=? WHERE alarms.alarm_id = ?', ('body', 'alarm_id')),
    postgresql=Compiled('UPDATE alarms SET body=%s WHERE alarms.alarm_id = %s::VARCHAR COLLATE "C"', ('body', 'alarm_id')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_change ( body BYTEA, alarm_id TEXT COLLATE "C" )',
        copy='COPY staged_alarms_change FROM STDIN',
        run=Compiled('UPDATE alarms SET body=staged_alarms_change.body FROM staged_alarms_change WHERE alarms.alarm_id = staged_alarms_change.alarm_id'),
        empty='TRUNCATE staged_alarms_change',
    ),
)
RULE_STATES = Query(
    sqlite=Compiled('SELECT streaks.rule, streaks.body FROM streaks WHERE streaks.model = ? AND streaks.version = ?', ('model', 'version')),
    postgresql=Compiled('SELECT streaks.rule, streaks.body FROM streaks WHERE streaks.model = %s::VARCHAR COLLATE "C" AND streaks.version = %s::VARCHAR COLLATE "C"', ('model', 'version')),
)
SAVE_RULE_STATE = RowQuery(
    columns=('model', 'version', 'rule', 'body'),
    sqlite=Compiled('INSERT INTO streaks (model, version, rule, body) VALUES (?, ?, ?, ?) ON CONFLICT (model, version, rule) DO UPDATE SET body = excluded.body', ('model', 'version', 'rule', 'body')),
    postgresql=Compiled('INSERT INTO streaks (model, version, rule, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s) ON CONFLICT (model, version, rule) DO UPDATE SET body = excluded.body', ('model', 'version', 'rule', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_save_rule_state ( model TEXT COLLATE "C", version TEXT COLLATE "C", rule TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_alarms_save_rule_state FROM STDIN',
        run=Compiled('INSERT INTO streaks (model, version, rule, body) SELECT staged_alarms_save_rule_state.model, staged_alarms_save_rule_state.version, staged_alarms_save_rule_state.rule, staged_alarms_save_rule_state.body FROM staged_alarms_save_rule_state ON CONFLICT (model, version, rule) DO UPDATE SET body = excluded.body'),
        empty='TRUNCATE staged_alarms_save_rule_state',
    ),
)
CHANGE_RULE_STATE = RowQuery(
    columns=('body', 'model', 'version', 'rule'),
    sqlite=Compiled('UPDATE streaks SET body=? WHERE streaks.model = ? AND streaks.version = ? AND streaks.rule = ?', ('body', 'model', 'version', 'rule')),
    postgresql=Compiled('UPDATE streaks SET body=%s WHERE streaks.model = %s::VARCHAR COLLATE "C" AND streaks.version = %s::VARCHAR COLLATE "C" AND streaks.rule = %s::VARCHAR COLLATE "C"', ('body', 'model', 'version', 'rule')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_change_rule_state ( body BYTEA, model TEXT COLLATE "C", version TEXT COLLATE "C", rule TEXT COLLATE "C" )',
        copy='COPY staged_alarms_change_rule_state FROM STDIN',
        run=Compiled('UPDATE streaks SET body=staged_alarms_change_rule_state.body FROM staged_alarms_change_rule_state WHERE streaks.model = staged_alarms_change_rule_state.model AND streaks.version = staged_alarms_change_rule_state.version AND streaks.rule = staged_alarms_change_rule_state.rule'),
        empty='TRUNCATE staged_alarms_change_rule_state',
    ),
)
SILENCES = Query(
    sqlite=Compiled('SELECT silences.body FROM silences ORDER BY silences.silence_id'),
    postgresql=Compiled('SELECT silences.body FROM silences ORDER BY silences.silence_id'),
)
SILENCE = Query(
    sqlite=Compiled('SELECT silences.body FROM silences WHERE silences.silence_id = ?', ('silence_id',)),
    postgresql=Compiled('SELECT silences.body FROM silences WHERE silences.silence_id = %s::VARCHAR COLLATE "C"', ('silence_id',)),
)
ADD_SILENCE = RowQuery(
    columns=('silence_id', 'body'),
    sqlite=Compiled('INSERT INTO silences (silence_id, body) VALUES (?, ?)', ('silence_id', 'body')),
    postgresql=Compiled('INSERT INTO silences (silence_id, body) VALUES (%s::VARCHAR COLLATE "C", %s)', ('silence_id', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_add_silence ( silence_id TEXT COLLATE "C", body BYTEA )',
        copy='COPY staged_alarms_add_silence FROM STDIN',
        run=Compiled('INSERT INTO silences (silence_id, body) SELECT staged_alarms_add_silence.silence_id, staged_alarms_add_silence.body FROM staged_alarms_add_silence'),
        empty='TRUNCATE staged_alarms_add_silence',
    ),
)
CHANGE_SILENCE = RowQuery(
    columns=('body', 'silence_id'),
    sqlite=Compiled('UPDATE silences SET body=? WHERE silences.silence_id = ?', ('body', 'silence_id')),
    postgresql=Compiled('UPDATE silences SET body=%s WHERE silences.silence_id = %s::VARCHAR COLLATE "C"', ('body', 'silence_id')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_alarms_change_silence ( body BYTEA, silence_id TEXT COLLATE "C" )',
        copy='COPY staged_alarms_change_silence FROM STDIN',
        run=Compiled('UPDATE silences SET body=staged_alarms_change_silence.body FROM staged_alarms_change_silence WHERE silences.silence_id = staged_alarms_change_silence.silence_id'),
        empty='TRUNCATE staged_alarms_change_silence',
    ),
)
