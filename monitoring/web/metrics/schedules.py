"""Metrics of retraining schedules."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.presenter.schedule_text import ScheduleView


def schedule_metrics(schedules: Sequence[ScheduleView], now: int) -> Iterator[Metric]:
    """Yield the next time of each schedule, and the age of a past time without a decision.

    `now` is in microseconds since the epoch.
    """
    next_time = GaugeMetricFamily(
        "driftline_schedule_next_timestamp_seconds",
        "Time of the next scheduled retraining.",
        labels=["model"],
    )
    waiting = GaugeMetricFamily(
        "driftline_schedule_undecided_seconds",
        "Seconds since the latest scheduled time without a decision; 0 if all are decided.",
        labels=["model"],
    )
    for schedule in schedules:
        next_time.add_metric([schedule.model], schedule.next / 1e6)
        waiting.add_metric(
            [schedule.model], (now - schedule.undecided) / 1e6 if schedule.undecided else 0.0
        )
    yield from (next_time, waiting)
