"""Statements on people's notes on windows and alarms."""

from sqlalchemy import bindparam, delete, select

from monitoring.storage.schema import notes
from monitoring.storage.statements import OneOfMany, RowInsert

ALL = select(notes.c.body).order_by(notes.c.created, notes.c.note_id)
OF_VERSION = (
    select(notes.c.body)
    .where(notes.c.model == bindparam("model"), notes.c.version == bindparam("version"))
    .order_by(notes.c.created, notes.c.note_id)
)
OF_ALARMS = OneOfMany(select(notes.c.body), notes.c.alarm_id)
ADD = RowInsert(notes)
DELETE = delete(notes).where(notes.c.note_id == bindparam("note_id"))
