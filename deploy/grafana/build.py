"""Build the Grafana dashboards: python deploy/grafana/build.py [FOLDER].

A test fails if the committed dashboards are out of date.
"""

import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from parts import CHOSEN, annotation, banded, board, buckets, grid, number, series, variable

FOLDER = Path(__file__).parent / "dashboards"
SERVED = [
    variable("model", "label_values(driftline_requests_total, model)", single=True),
    variable("version", 'label_values(driftline_requests_total{model=~"$model"}, version)'),
]
WATCHED = [
    variable("model", "label_values(driftline_window_rows, model)", single=True),
    variable("version", 'label_values(driftline_window_rows{model=~"$model"}, version)'),
    variable(
        "score",
        f'label_values(driftline_window_score{{{CHOSEN}, score!~"estimated_.*"}}, score)',
        single=True,
    ),
    variable("segment", f"label_values(driftline_window_segment{{{CHOSEN}}}, segment)"),
]
WHO = "{{model}} {{version}}"
# Counters that one panel excludes, because they are much larger than the others.
VOLUME = "predictions_.*|monitored_events|heartbeats|labels"
VERSION = "version {{version}}"  # without the model, because only one is chosen


def rate(metric: str, by: str, more: str = "") -> str:
    """Return the query for the sum of a counter's rates."""
    return f"sum by ({by}) (rate({metric}{{{CHOSEN}{more}}}[$__rate_interval]))"


def quantile(share: float, histogram: str) -> str:
    """Return the query for a histogram's quantile, per version."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'model, version, le')})"


def latest(metric: str, more: str = "") -> str:
    """Return the query for a gauge of the chosen versions."""
    return f"{metric}{{{CHOSEN}{more}}}"


def serving() -> Any:
    """Return the dashboard of the service: traffic, latency and saturation."""
    requests, seconds = "driftline_requests_total", "driftline_request_seconds"
    rows = {
        "Traffic": [
            series(
                "Requests",
                "Inference requests per second.",
                "reqps",
                (rate(requests, "model, version"), VERSION),
            ),
            series(
                "Requests by outcome",
                "Inference requests per second, by outcome.",
                "reqps",
                (rate(requests, "outcome"), "{{outcome}}"),
            ),
            series(
                "Requests by protocol",
                "Inference requests per second over REST, gRPC or /predict.",
                "reqps",
                (rate(requests, "protocol"), "{{protocol}}"),
            ),
            series(
                "Error rate",
                "Share of requests that failed, were refused or expired, last five minutes.",
                "percentunit",
                (latest("driftline:request_errors:ratio_rate5m"), VERSION),
            ),
        ],
        "Latency": [
            buckets(
                "Latency",
                "Time from reception to reply.",
                "s",
                rate(f"{seconds}_bucket", "le"),
            ),
            series(
                "Latency quantiles",
                "Time from reception to reply.",
                "s",
                (quantile(0.5, seconds), f"p50 {VERSION}"),
                (quantile(0.95, seconds), f"p95 {VERSION}"),
                (quantile(0.99, seconds), f"p99 {VERSION}"),
            ),
            series(
                "Time in the queue",
                "Time that an answered request spent in the queue.",
                "s",
                (quantile(0.5, "driftline_queue_seconds"), f"p50 {VERSION}"),
                (quantile(0.99, "driftline_queue_seconds"), f"p99 {VERSION}"),
            ),
            series(
                "Run time",
                "Time of a batch's run.",
                "s",
                (quantile(0.5, "driftline_run_seconds"), f"p50 {VERSION}"),
                (quantile(0.99, "driftline_run_seconds"), f"p99 {VERSION}"),
            ),
        ],
        "Saturation": [
            buckets(
                "Batch sizes",
                "Rows per batch.",
                "short",
                rate("driftline_batch_rows_bucket", "le"),
            ),
            series(
                "Queue",
                "Queued requests at the time when the last batch was answered.",
                "short",
                (latest("driftline_queue_requests"), VERSION),
            ),
            series(
                "Runner utilization",
                "Seconds of runs per second: 1 is one busy runner.",
                "percentunit",
                (rate("driftline_run_seconds_sum", "model, version"), VERSION),
            ),
            series(
                "Loaded versions",
                "Loaded versions in the worker with the fewest.",
                "short",
                ("driftline_loaded_versions", "{{instance}}"),
            ),
        ],
    }
    return board("driftline-serving", "Driftline: serving", rows, SERVED)


def monitoring() -> Any:
    """Return the dashboard of the monitor's results."""
    realised, estimated = ', score=~"$score"', ', score=~"estimated_$score"'
    group = ', segment=~"$segment"'
    hourly = 'driftline_traffic_requests{model=~"$model"}'
    rows = {
        "Drift": [
            grid(
                "Drift by column",
                "Statistic divided by its threshold: a column with 1 or more has drifted.",
                latest("driftline_window_drift_severity"),
                "{{column}}, " + VERSION,
            ),
            series(
                "Share of drifted columns",
                "Share of drifted columns, latest window.",
                "percentunit",
                (latest("driftline_window_drifted_share"), VERSION),
            ),
            series(
                "Effect of drift on predictions",
                "Share of decisions that drift changes; of a number, mean change in deviations.",
                "short",
                (latest("driftline_window_effect", ', column!=""'), "{{column}} " + VERSION),
            ),
            series(
                "Drift statistic",
                "Drift statistic of each column, by its method.",
                "short",
                (latest("driftline_window_drift"), "{{column}} ({{method}}), " + VERSION),
                width=24,
            ),
        ],
        "Quality": [
            series(
                "Missing, out of range, unseen",
                "Shares of a column's values, latest window.",
                "percentunit",
                (latest("driftline_window_quality"), "{{column}} {{measure}}, " + VERSION),
            ),
            series(
                "Rows",
                "Rows of the latest window.",
                "short",
                (latest("driftline_window_rows"), VERSION),
            ),
        ],
        "Traffic": [
            series(
                "Requests per hour",
                "All versions of a model, newest evaluated hour, and the expected number.",
                "short",
                (hourly, "requests {{model}}"),
                ('driftline_traffic_expected{model=~"$model"}', "expected {{model}}"),
            ),
            series(
                "Share of the expected requests",
                "Newest evaluated hour: 1 is as expected, 0 is no request.",
                "percentunit",
                (
                    f'{hourly} / (driftline_traffic_expected{{model=~"$model"}} > 0)',
                    "{{model}}",
                ),
            ),
        ],
        "Performance": [
            banded(
                "Measured: $score",
                "Score of the latest window with labels, with its 95 % interval.",
                (latest("driftline_window_score", realised), VERSION),
                (latest("driftline_window_score_bound", realised), "{{bound}} " + VERSION),
            ),
            banded(
                "Estimated: $score",
                "Estimate before labels arrive, with its 95 % band.",
                (latest("driftline_window_score", estimated), VERSION),
                (latest("driftline_window_score_bound", estimated), "{{bound}} " + VERSION),
            ),
            series(
                "Label coverage",
                "Share of rows with a label, newest window that no longer waits for labels.",
                "percentunit",
                (latest("driftline_window_label_coverage"), VERSION),
            ),
            series(
                "Label delay",
                "Time from prediction to label, newest window with labels.",
                "s",
                (latest("driftline_window_label_delay_seconds"), "{{quantile}} " + VERSION),
            ),
            series(
                "Rows by the state of their label",
                "Rows of all closed windows.",
                "short",
                (f"sum by (state) ({latest('driftline_row_labels')})", "{{state}}"),
                width=24,
            ),
        ],
        "Segments": [
            series(
                "Groups: $score",
                "Score of each chosen group's labelled rows.",
                "short",
                (
                    latest("driftline_window_segment", f'{group}, score=~"$score"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Groups: share of drifted columns",
                "Each chosen group compared with the same group of the reference.",
                "percentunit",
                (
                    latest("driftline_window_segment", f'{group}, score="drifted_share"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Groups: rows",
                "Rows of each chosen group, latest window.",
                "short",
                (
                    latest("driftline_window_segment", f'{group}, score="rows"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Gaps between groups",
                "Highest minus lowest rate of a column's groups.",
                "short",
                (latest("driftline_window_gap"), "{{column}} {{score}} " + VERSION),
            ),
        ],
        "Service, from the event log": [
            series(
                "Requests with errors",
                "Share of requests that failed, were refused or expired, latest window.",
                "percentunit",
                (latest("driftline_window_error_share"), VERSION),
            ),
            series(
                "Prediction parity",
                "Share of re-run predictions that differ, latest window: a serving fault.",
                "percentunit",
                (latest("driftline_window_parity"), VERSION),
            ),
            series(
                "Latency",
                "Time from reception to reply, latest window.",
                "s",
                (latest("driftline_window_latency_seconds"), "{{quantile}} " + VERSION),
            ),
            series(
                "Share of requests by version",
                "Share of the model's requests, each version's latest window.",
                "percentunit",
                (latest("driftline_window_version_share"), VERSION),
            ),
        ],
        "Alarms": [
            series(
                "Firing alarms",
                "Firing alarms by rule.",
                "short",
                (latest("driftline_alarms", ', state="firing"'), "{{rule}} " + VERSION),
            ),
            series(
                "Webhooks",
                "Webhooks by state; dead webhooks are not retried.",
                "short",
                ("driftline_webhooks", "{{state}}"),
            ),
        ],
    }
    dashboard = board(
        "driftline-monitoring", "Driftline: monitoring", rows, WATCHED, start="now-14d"
    )
    firing = latest("driftline_alarms", ', state="firing"')
    return dashboard.annotation(annotation("Alarms", f"{firing} > 0"))


def event_log() -> Any:
    """Return the dashboard of the event log and the forwarder."""
    counted = [
        (
            f"sum by (source) (driftline_events_{what})",
            f"{what.removesuffix('_total')} {{{{source}}}}",
        )
        for what in ("lost_total", "recovered_total", "missing", "duplicated_total")
    ]
    acknowledged = "rate(driftline_forwarder_acknowledged_records_total[$__rate_interval])"
    rows = {
        "Ledger": [
            series(
                "Events",
                "Events per second: appended, ingested by the monitor, acknowledged by Kafka.",
                "cps",
                ("sum(rate(driftline_events_appended_total[$__rate_interval]))", "appended"),
                ("sum(rate(driftline_monitored_events_total[$__rate_interval]))", "monitored"),
                (f"sum({acknowledged})", "acknowledged by Kafka"),
            ),
            series("Ledger", "Events lost, recovered, missing or duplicated.", "short", *counted),
            series(
                "Unreadable",
                "Records that do not match an event schema.",
                "short",
                ("sum by (source) (driftline_unreadable_events_total)", "{{source}}"),
            ),
            series(
                "Other counters of the monitor",
                "Unknown and invalid labels, dead letters, waiting scores; no large counters.",
                "short",
                (f'driftline_counted_total{{what!~"{VOLUME}"}}', "{{what}}"),
            ),
        ],
        "Lag": [
            series(
                "Lag",
                "Age of the oldest event that is not ingested, or not acknowledged by Kafka.",
                "s",
                ("driftline_monitor_lag_seconds", "monitor"),
                ("driftline_forwarder_lag_seconds", "forwarder {{instance}}"),
            ),
            series(
                "Since the last poll",
                "Time since the last poll; grows if a process hangs.",
                "s",
                ("time() - driftline_monitor_last_poll_timestamp_seconds", "monitor"),
                ("time() - driftline_forwarder_last_poll_timestamp_seconds", "forwarder"),
            ),
        ],
        "Forwarder": [
            series(
                "Backlog",
                "Records that Kafka has not acknowledged, and the part of them that was sent.",
                "short",
                ("driftline_forwarder_backlog_records", "waiting {{instance}}"),
                ("driftline_forwarder_in_flight_records", "sent {{instance}}"),
                width=24,
            ),
            series(
                "Batches that Kafka did not acknowledge",
                "Unacknowledged batches; each is retried.",
                "short",
                ("increase(driftline_forwarder_errors_total[$__rate_interval])", "{{instance}}"),
            ),
            series(
                "Since the last acknowledgement",
                "Time since Kafka last acknowledged records; also grows without requests.",
                "s",
                (
                    "time() - driftline_forwarder_last_acknowledged_timestamp_seconds",
                    "{{instance}}",
                ),
            ),
        ],
        "Disk": [
            series(
                "Free disk space",
                "Free bytes on the disk of the event log.",
                "bytes",
                ("driftline_log_disk_free_bytes", "{{instance}}"),
            ),
            series(
                "Dropped events",
                "Events that were not logged because the disk was full and `when_full` is `drop`.",
                "short",
                ("sum(driftline_events_dropped_total)", "events"),
            ),
        ],
    }
    return board("driftline-event-log", "Driftline: event log", rows, [])


def overview() -> Any:
    """Return the dashboard with the most important panels."""
    rows = {
        "Now": [
            number("Requests", "Requests per second.", "reqps", "sum(driftline:requests:rate5m)"),
            number(
                "Errors",
                "Error rate of the worst version.",
                "percentunit",
                "max(driftline:request_errors:ratio_rate5m)",
                bad=0.001,
            ),
            number(
                "p99",
                "99th percentile of the latency, slowest version.",
                "s",
                "max(driftline:request_seconds:p99_5m)",
                bad=0.1,
            ),
            number(
                "Firing alarms",
                "Firing alarms of all models.",
                "short",
                'sum(driftline_alarms{state="firing"})',
                bad=1,
            ),
            number(
                "Events lost",
                "Since the monitor's first start, minus events that arrived later.",
                "short",
                "sum(driftline_events_lost_total) - sum(driftline_events_recovered_total)",
                bad=1,
            ),
            number(
                "Monitor lag",
                "How far the monitor is behind the log.",
                "s",
                "max(driftline_monitor_lag_seconds)",
                bad=300,
            ),
            number(
                "Forwarder lag",
                "How far the forwarder is behind the log.",
                "s",
                "max(driftline_forwarder_lag_seconds)",
                bad=120,
            ),
            number(
                "Targets down",
                "Processes that Prometheus cannot scrape.",
                "short",
                'count(up{job=~"driftline-.*"}) - sum(up{job=~"driftline-.*"})',
                bad=1,
            ),
        ],
        "By version": [
            series("Requests", "Requests per second.", "reqps", ("driftline:requests:rate5m", WHO)),
            series(
                "p99",
                "Time from reception to reply.",
                "s",
                ("driftline:request_seconds:p99_5m", WHO),
            ),
            series(
                "Share of drifted columns",
                "Share of drifted columns, latest window.",
                "percentunit",
                ("driftline_window_drifted_share", WHO),
            ),
            series(
                "Disk of the event log",
                "Free share of the event log's disk.",
                "percentunit",
                ("driftline:log_disk_free:ratio", "{{instance}}"),
            ),
        ],
    }
    return board("driftline-overview", "Driftline: overview", rows, [])


def dashboards() -> dict[str, str]:
    """Return every dashboard as JSON, by file name."""
    built = [build().build() for build in (overview, serving, monitoring, event_log)]
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{dashboard.uid}.json": encoder.encode(dashboard) + "\n" for dashboard in built}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, text in dashboards().items():
        (folder / name).write_text(text)
