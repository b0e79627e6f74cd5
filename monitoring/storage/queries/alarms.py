"""Statements on alarms, the streaks that raise them, and silences."""

from sqlalchemy import bindparam, func, select, update

from monitoring.storage.schema import alarms, silences, streaks
from monitoring.storage.statements import RowChange, RowInsert, values_of

ALARMS = select(alarms.c.body).order_by(alarms.c.number.desc())
ALARM = select(alarms.c.body).where(alarms.c.alarm_id == bindparam("alarm_id"))
COUNT = select(func.count()).select_from(alarms)
SAVE = RowInsert(alarms, replace=["body"])
CHANGE = RowChange(
    values_of(alarms, "body", "alarm_id"),
    lambda given: (
        update(alarms).values(body=given["body"]).where(alarms.c.alarm_id == given["alarm_id"])
    ),
)

STREAKS = select(streaks.c.rule, streaks.c.body).where(
    streaks.c.model == bindparam("model"), streaks.c.version == bindparam("version")
)
SAVE_STREAK = RowInsert(streaks, replace=["body"])
CHANGE_STREAK = RowChange(
    values_of(streaks, "body", "model", "version", "rule"),
    lambda given: (
        update(streaks)
        .values(body=given["body"])
        .where(
            streaks.c.model == given["model"],
            streaks.c.version == given["version"],
            streaks.c.rule == given["rule"],
        )
    ),
)

SILENCES = select(silences.c.body).order_by(silences.c.silence_id)
SILENCE = select(silences.c.body).where(silences.c.silence_id == bindparam("silence_id"))
ADD_SILENCE = RowInsert(silences)
CHANGE_SILENCE = RowChange(
    values_of(silences, "body", "silence_id"),
    lambda given: (
        update(silences)
        .values(body=given["body"])
        .where(silences.c.silence_id == given["silence_id"])
    ),
)
