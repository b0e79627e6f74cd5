"""Sentences of webhooks, as chats and Alertmanager show them."""

from monitoring.presenter.headline import versioned_alarm
from monitoring.results import Alarm, RetrainRequest
from registry.history.rows import ScheduleChange
from registry.pending_approvals import PendingApproval
from registry.schedules import local_time


def request_sentence(request: RetrainRequest | None) -> str:
    """Return the text of a retraining request; None stands for a trial webhook."""
    if request is None:
        return "Trial webhook of Driftline. No action is needed."
    name = f"{request.model} version {request.version}"
    return f"Retraining requested for {name}: {request.reason} Rows: {request.rows_url}"


def schedule_reason(schedule: ScheduleChange, due: int) -> str:
    """Return the reason of a retraining request that a schedule makes."""
    return f'Scheduled for {local_time(due, schedule.timezone)} ("{schedule.cron}").'


def notice_sentence(alarm: Alarm, page: str) -> str:
    """Return the text of an alarm that requests no retraining; `page` is a link."""
    return f"{versioned_alarm(alarm)} {page}"


def approval_sentence(approval: PendingApproval, page: str) -> str:
    """Return the text of a request for approval; `page` is a link."""
    gates = f" Gates: {approval.verdict}." if approval.verdict else ""
    roles = f" of {' or '.join(approval.roles)}" if approval.roles else ""
    return (
        f"Approval{roles} requested for {approval.model} version {approval.number} as "
        f"{approval.alias}, by {approval.requested_by or 'unknown'}: {approval.why}.{gates} {page}"
    )
