"""Statements on alarms, the states of rules, and silences."""

from sqlalchemy import bindparam, select, update

from monitoring.storage.schema import alarms, rule_states, silences
from monitoring.storage.statements import RowChange, RowInsert, values_of

# Newest first. `number` is the end of the window that raised the alarm; alarms of earlier releases
# have a running number instead.
ALARMS = select(alarms.c.body).order_by(alarms.c.number.desc(), alarms.c.alarm_id)
ALARM = select(alarms.c.body).where(alarms.c.alarm_id == bindparam("alarm_id"))
SAVE = RowInsert(alarms, replace=["body"])
CHANGE = RowChange(
    values_of(alarms, "body", "alarm_id"),
    lambda params: (
        update(alarms).values(body=params["body"]).where(alarms.c.alarm_id == params["alarm_id"])
    ),
)

RULE_STATES = select(rule_states.c.rule, rule_states.c.body).where(
    rule_states.c.model == bindparam("model"), rule_states.c.version == bindparam("version")
)
SAVE_RULE_STATE = RowInsert(rule_states, replace=["body"])
CHANGE_RULE_STATE = RowChange(
    values_of(rule_states, "body", "model", "version", "rule"),
    lambda params: (
        update(rule_states)
        .values(body=params["body"])
        .where(
            rule_states.c.model == params["model"],
            rule_states.c.version == params["version"],
            rule_states.c.rule == params["rule"],
        )
    ),
)

SILENCES = select(silences.c.body).order_by(silences.c.silence_id)
SILENCE = select(silences.c.body).where(silences.c.silence_id == bindparam("silence_id"))
ADD_SILENCE = RowInsert(silences)
CHANGE_SILENCE = RowChange(
    values_of(silences, "body", "silence_id"),
    lambda params: (
        update(silences)
        .values(body=params["body"])
        .where(silences.c.silence_id == params["silence_id"])
    ),
)
