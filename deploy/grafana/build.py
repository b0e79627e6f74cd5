"""Writes the dashboards: python deploy/grafana/build.py [FOLDER].

A test says when the committed ones are out of date.
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
VOLUME = "predictions_.*|monitored_events|heartbeats|labels"  # counters that dwarf the others
VERSION = "version {{version}}"  # one model is chosen


def rate(metric: str, by: str, more: str = "") -> str:
    """Return the sum of a counter's rates."""
    return f"sum by ({by}) (rate({metric}{{{CHOSEN}{more}}}[$__rate_interval]))"


def quantile(share: float, histogram: str) -> str:
    """Return a quantile of a histogram, per version."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'model, version, le')})"


def latest(metric: str, more: str = "") -> str:
    """Return a gauge of the chosen versions."""
    return f"{metric}{{{CHOSEN}{more}}}"


def serving() -> Any:
    """Return the panels of what clients get."""
    requests, seconds = "driftline_requests_total", "driftline_request_seconds"
    rows = {
        "Traffic": [
            series(
                "Requests",
                "Inference requests a second.",
                "reqps",
                (rate(requests, "model, version"), VERSION),
            ),
            series(
                "Requests by outcome",
                "How they ended.",
                "reqps",
                (rate(requests, "outcome"), "{{outcome}}"),
            ),
            series(
                "Requests by protocol",
                "REST, gRPC or /predict.",
                "reqps",
                (rate(requests, "protocol"), "{{protocol}}"),
            ),
            series(
                "Share of errors",
                "Failed, refused or expired, of the last five minutes.",
                "percentunit",
                (latest("driftline:request_errors:ratio_rate5m"), VERSION),
            ),
        ],
        "Latency": [
            buckets(
                "Latency",
                "From receipt to answer.",
                "s",
                rate(f"{seconds}_bucket", "le"),
            ),
            series(
                "Latency quantiles",
                "From receipt to answer.",
                "s",
                (quantile(0.5, seconds), f"p50 {VERSION}"),
                (quantile(0.95, seconds), f"p95 {VERSION}"),
                (quantile(0.99, seconds), f"p99 {VERSION}"),
            ),
            series(
                "Time in the queue",
                "Of an answered request before its run.",
                "s",
                (quantile(0.5, "driftline_queue_seconds"), f"p50 {VERSION}"),
                (quantile(0.99, "driftline_queue_seconds"), f"p99 {VERSION}"),
            ),
            series(
                "Time of the run",
                "Of a batch.",
                "s",
                (quantile(0.5, "driftline_run_seconds"), f"p50 {VERSION}"),
                (quantile(0.99, "driftline_run_seconds"), f"p99 {VERSION}"),
            ),
        ],
        "Saturation": [
            buckets(
                "Batch sizes",
                "Rows of a batch.",
                "short",
                rate("driftline_batch_rows_bucket", "le"),
            ),
            series(
                "Queue",
                "Requests that waited when a batch was answered.",
                "short",
                (latest("driftline_queue_requests"), VERSION),
            ),
            series(
                "Runner utilization",
                "Seconds of runs a second: 1 is one busy runner.",
                "percentunit",
                (rate("driftline_run_seconds_sum", "model, version"), VERSION),
            ),
            series(
                "Loaded versions",
                "In the worker that has loaded fewest.",
                "short",
                ("driftline_loaded_versions", "{{instance}}"),
            ),
        ],
    }
    return board("driftline-serving", "Driftline: serving", rows, SERVED)


def monitoring() -> Any:
    """Return the panels of what the monitor found."""
    realised, estimated = ', score=~"$score"', ', score=~"estimated_$score"'
    group = ', segment=~"$segment"'
    hourly = 'driftline_traffic_requests{model=~"$model"}'
    rows = {
        "Drift": [
            grid(
                "Drift by column",
                "Statistic divided by its threshold: 1 and above has drifted.",
                latest("driftline_window_drift_severity"),
                "{{column}}, " + VERSION,
            ),
            series(
                "Share of columns that drifted",
                "Of the latest window.",
                "percentunit",
                (latest("driftline_window_drifted_share"), VERSION),
            ),
            series(
                "Effect of drift on predictions",
                "Share of decisions (spreads of a predicted number) that a column's drift changes.",
                "short",
                (latest("driftline_window_effect", ', column!=""'), "{{column}} " + VERSION),
            ),
            series(
                "Drift statistic",
                "As its method measures it.",
                "short",
                (latest("driftline_window_drift"), "{{column}} ({{method}}), " + VERSION),
                width=24,
            ),
        ],
        "Quality": [
            series(
                "Missing, out of range, unseen",
                "Shares of a column's values.",
                "percentunit",
                (latest("driftline_window_quality"), "{{column}} {{measure}}, " + VERSION),
            ),
            series(
                "Rows",
                "Of the latest window.",
                "short",
                (latest("driftline_window_rows"), VERSION),
            ),
        ],
        "Traffic": [
            series(
                "Requests of an hour",
                "All versions of a model, newest evaluated hour, and as in earlier weeks.",
                "short",
                (hourly, "requests {{model}}"),
                ('driftline_traffic_expected{model=~"$model"}', "expected {{model}}"),
            ),
            series(
                "Share of the expected requests",
                "Newest judged hour: 1 is as in the weeks before, 0 is no request.",
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
                "Of the latest window with labels, and its 95 % band.",
                (latest("driftline_window_score", realised), VERSION),
                (latest("driftline_window_score_bound", realised), "{{bound}} " + VERSION),
            ),
            banded(
                "Estimated: $score",
                "Before labels come, and its 95 % band.",
                (latest("driftline_window_score", estimated), VERSION),
                (latest("driftline_window_score_bound", estimated), "{{bound}} " + VERSION),
            ),
            series(
                "Label coverage",
                "Of the newest window that awaits no more labels.",
                "percentunit",
                (latest("driftline_window_label_coverage"), VERSION),
            ),
            series(
                "Label delay",
                "From a prediction to its label, newest window with labels.",
                "s",
                (latest("driftline_window_label_delay_seconds"), "{{quantile}} " + VERSION),
            ),
            series(
                "Rows by the state of their label",
                "Of all closed windows.",
                "short",
                (f"sum by (state) ({latest('driftline_row_labels')})", "{{state}}"),
                width=24,
            ),
        ],
        "Segments": [
            series(
                "Groups: $score",
                "Of the labelled rows of each chosen group.",
                "short",
                (
                    latest("driftline_window_segment", f'{group}, score=~"$score"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Groups: share of columns that drifted",
                "Of each chosen group against the same group of the reference.",
                "percentunit",
                (
                    latest("driftline_window_segment", f'{group}, score="drifted_share"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Groups: rows",
                "Of each chosen group, latest window.",
                "short",
                (
                    latest("driftline_window_segment", f'{group}, score="rows"'),
                    "{{segment}}, " + VERSION,
                ),
            ),
            series(
                "Gaps between groups",
                "The highest rate of a column's groups less the lowest.",
                "short",
                (latest("driftline_window_gap"), "{{column}} {{score}} " + VERSION),
            ),
        ],
        "Service, from the event log": [
            series(
                "Requests that ended in an error",
                "Failed, refused or expired, latest window.",
                "percentunit",
                (latest("driftline_window_error_share"), VERSION),
            ),
            series(
                "Predictions that differ from the registered model",
                "Of the re-run predictions, latest window: prediction parity; a serving fault.",
                "percentunit",
                (latest("driftline_window_parity"), VERSION),
            ),
            series(
                "Latency",
                "From receipt to answer, latest window.",
                "s",
                (latest("driftline_window_latency_seconds"), "{{quantile}} " + VERSION),
            ),
            series(
                "Share of requests by version",
                "Of the model's, each version's latest window.",
                "percentunit",
                (latest("driftline_window_version_share"), VERSION),
            ),
        ],
        "Alarms": [
            series(
                "Firing alarms",
                "By rule.",
                "short",
                (latest("driftline_alarms", ', state="firing"'), "{{rule}} " + VERSION),
            ),
            series(
                "Webhooks",
                "By state; dead ones were given up.",
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
    """Return whether every answer arrives."""
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
                "Appended, ingested by the monitor, acknowledged by Kafka, a second.",
                "cps",
                ("sum(rate(driftline_events_appended_total[$__rate_interval]))", "appended"),
                ("sum(rate(driftline_monitored_events_total[$__rate_interval]))", "monitored"),
                (f"sum({acknowledged})", "acknowledged by Kafka"),
            ),
            series("Ledger", "Events lost, recovered, missing or duplicated.", "short", *counted),
            series(
                "Unreadable",
                "Records that are not an event.",
                "short",
                ("sum by (source) (driftline_unreadable_events_total)", "{{source}}"),
            ),
            series(
                "Other counters of the monitor",
                "Unknown and unfit labels, dead letters, waiting scores; not the volume.",
                "short",
                (f'driftline_counted_total{{what!~"{VOLUME}"}}', "{{what}}"),
            ),
        ],
        "Lag": [
            series(
                "Lag",
                "Since the reception of the oldest event in hand.",
                "s",
                ("driftline_monitor_lag_seconds", "monitor"),
                ("driftline_forwarder_lag_seconds", "forwarder {{instance}}"),
            ),
            series(
                "Since the last poll",
                "Grows where one hangs.",
                "s",
                ("time() - driftline_monitor_last_poll_timestamp_seconds", "monitor"),
                ("time() - driftline_forwarder_last_poll_timestamp_seconds", "forwarder"),
            ),
        ],
        "Forwarder": [
            series(
                "Backlog",
                "Records that Kafka has not acknowledged, and those of them that are on their way.",
                "short",
                ("driftline_forwarder_backlog_records", "waiting {{instance}}"),
                ("driftline_forwarder_in_flight_records", "on their way {{instance}}"),
                width=24,
            ),
            series(
                "Batches that Kafka did not acknowledge",
                "Each is retried.",
                "short",
                ("increase(driftline_forwarder_errors_total[$__rate_interval])", "{{instance}}"),
            ),
            series(
                "Since the last acknowledgement",
                "Grows while nothing is asked, too.",
                "s",
                (
                    "time() - driftline_forwarder_last_acknowledged_timestamp_seconds",
                    "{{instance}}",
                ),
            ),
        ],
        "Disk": [
            series(
                "Free",
                "Free bytes on the disk of the event log.",
                "bytes",
                ("driftline_log_disk_free_bytes", "{{instance}}"),
            ),
            series(
                "Dropped",
                "Events without space, where that was allowed.",
                "short",
                ("sum(driftline_events_dropped_total)", "events"),
            ),
        ],
    }
    return board("driftline-event-log", "Driftline: event log", rows, [])


def overview() -> Any:
    """Return the panels to look at first."""
    rows = {
        "Now": [
            number("Requests", "A second.", "reqps", "sum(driftline:requests:rate5m)"),
            number(
                "Errors",
                "Worst version.",
                "percentunit",
                "max(driftline:request_errors:ratio_rate5m)",
                bad=0.001,
            ),
            number(
                "p99",
                "Worst version.",
                "s",
                "max(driftline:request_seconds:p99_5m)",
                bad=0.1,
            ),
            number(
                "Firing alarms",
                "Of any model.",
                "short",
                'sum(driftline_alarms{state="firing"})',
                bad=1,
            ),
            number(
                "Events lost",
                "Since the monitor began, less those that came after all.",
                "short",
                "sum(driftline_events_lost_total) - sum(driftline_events_recovered_total)",
                bad=1,
            ),
            number(
                "Monitor's lag",
                "Behind the log.",
                "s",
                "max(driftline_monitor_lag_seconds)",
                bad=300,
            ),
            number(
                "Forwarder's lag",
                "Behind the log.",
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
            series("Requests", "A second.", "reqps", ("driftline:requests:rate5m", WHO)),
            series(
                "p99", "From receipt to answer.", "s", ("driftline:request_seconds:p99_5m", WHO)
            ),
            series(
                "Share of columns that drifted",
                "Of the latest window.",
                "percentunit",
                ("driftline_window_drifted_share", WHO),
            ),
            series(
                "Disk of the event log",
                "Share that is free.",
                "percentunit",
                ("driftline:log_disk_free:ratio", "{{instance}}"),
            ),
        ],
    }
    return board("driftline-overview", "Driftline: overview", rows, [])


def dashboards() -> dict[str, str]:
    """Return every dashboard as JSON, by the name of its file."""
    built = [build().build() for build in (overview, serving, monitoring, event_log)]
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{dashboard.uid}.json": encoder.encode(dashboard) + "\n" for dashboard in built}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, text in dashboards().items():
        (folder / name).write_text(text)
