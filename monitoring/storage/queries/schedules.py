"""Statements on the progress of retraining schedules."""

from sqlalchemy import bindparam, select

from monitoring.storage.schema import schedules
from monitoring.storage.statements import RowInsert

ALL = select(schedules.c.model, schedules.c.body).order_by(schedules.c.model)
OF_MODEL = select(schedules.c.body).where(schedules.c.model == bindparam("model"))
SAVE = RowInsert(schedules, replace=["body"])
