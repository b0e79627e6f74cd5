"""Text of a retrain schedule: its next time, and the decision about its last time. Pure."""

import msgspec

from monitoring.alarms.retrain_schedule import ScheduleDecision, ScheduleProgress
from registry.errors import RegistryError
from registry.history.rows import CatchUp, HistoryRow, ScheduleChange
from registry.schedules import latest_due, local_time, next_due


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """The retrain schedule of a model; times are microseconds since the Unix epoch."""

    model: str
    cron: str
    timezone: str
    catch_up: CatchUp
    set_by: str  # actor who set the schedule
    since: int  # time at which the schedule was set
    next: int  # next scheduled time
    undecided: int  # latest past scheduled time without a monitor's decision; 0 if none
    last: ScheduleDecision | None = None


def schedule_view(
    model: str, row: HistoryRow, progress: ScheduleProgress, now: int
) -> ScheduleView | None:
    """Return the schedule that a registry row sets, or None if the row cannot be read."""
    try:
        schedule = row.decode(ScheduleChange)
        decided_until = max(row.time, progress.until)
        undecided = (
            latest_due(schedule.cron, schedule.timezone, decided_until, now)
            if decided_until < now
            else None
        )
        next_time = next_due(schedule.cron, schedule.timezone, max(row.time, now))
    except RegistryError:
        return None
    return ScheduleView(
        model=model,
        cron=schedule.cron,
        timezone=schedule.timezone,
        catch_up=schedule.catch_up,
        set_by=row.actor,
        since=row.time,
        next=next_time,
        undecided=undecided or 0,
        last=progress.decisions[-1] if progress.decisions else None,
    )


def schedule_text(view: ScheduleView) -> str:
    """Return one line with the cron expression, the next time, and the last decision if any."""
    last = f" Last: {_decision(view.last, view.timezone)}." if view.last is not None else ""
    return f'"{view.cron}" in {view.timezone}. Next: {local_time(view.next, view.timezone)}.{last}'


def _decision(decision: ScheduleDecision, timezone: str) -> str:
    outcome = (
        f"requested {decision.request}"
        if decision.request
        else f"{decision.state}, {decision.reason}"
    )
    return f"{local_time(decision.due, timezone)}, {outcome}"
