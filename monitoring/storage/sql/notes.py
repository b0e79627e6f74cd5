"""Statements on people's notes on windows and alarms; written by monitoring.storage.sql_writer."""

# fmt: off
# ruff: noqa: E501

from monitoring.storage.query import Compiled, Lookup, Query, RowQuery, Staged

ALL = Query(
    sqlite=Compiled('SELECT notes.body FROM notes ORDER BY notes.created, notes.note_id'),
    postgresql=Compiled('SELECT notes.body FROM notes ORDER BY notes.created, notes.note_id'),
)
OF_VERSION = Query(
    sqlite=Compiled('SELECT notes.body FROM notes WHERE notes.model = ? AND notes.version = ? ORDER BY notes.created, notes.note_id', ('model', 'version')),
    postgresql=Compiled('SELECT notes.body FROM notes WHERE notes.model = %s::VARCHAR COLLATE "C" AND notes.version = %s::VARCHAR COLLATE "C" ORDER BY notes.created, notes.note_id', ('model', 'version')),
)
OF_ALARMS = Lookup(
    sqlite='SELECT notes.body FROM notes WHERE notes.alarm_id IN (?)',
    postgresql='SELECT notes.body FROM notes WHERE notes.alarm_id = ANY (%s::TEXT[])',
)
ADD = RowQuery(
    columns=('note_id', 'model', 'version', 'start', 'alarm_id', 'created', 'body'),
    sqlite=Compiled('INSERT INTO notes (note_id, model, version, start, alarm_id, created, body) VALUES (?, ?, ?, ?, ?, ?, ?)', ('note_id', 'model', 'version', 'start', 'alarm_id', 'created', 'body')),
    postgresql=Compiled('INSERT INTO notes (note_id, model, version, start, alarm_id, created, body) VALUES (%s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::VARCHAR COLLATE "C", %s::BIGINT, %s::VARCHAR COLLATE "C", %s::BIGINT, %s)', ('note_id', 'model', 'version', 'start', 'alarm_id', 'created', 'body')),
    staged=Staged(
        create='CREATE TEMPORARY TABLE IF NOT EXISTS staged_notes_add ( note_id TEXT COLLATE "C", model TEXT COLLATE "C", version TEXT COLLATE "C", start BIGINT, alarm_id TEXT COLLATE "C", created BIGINT, body BYTEA )',
        copy='COPY staged_notes_add FROM STDIN',
        run=Compiled('INSERT INTO notes (note_id, model, version, start, alarm_id, created, body) SELECT staged_notes_add.note_id, staged_notes_add.model, staged_notes_add.version, staged_notes_add.start, staged_notes_add.alarm_id, staged_notes_add.created, staged_notes_add.body FROM staged_notes_add'),
        empty='TRUNCATE staged_notes_add',
    ),
)
DELETE = Query(
    sqlite=Compiled('DELETE FROM notes WHERE notes.note_id = ?', ('note_id',)),
    postgresql=Compiled('DELETE FROM notes WHERE notes.note_id = %s::VARCHAR COLLATE "C"', ('note_id',)),
)
