"""The monitor's metrics, read from the store at each scrape.

The other modules of this package define the metrics of their subjects.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from eventlog.lag import ReaderLag
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import (
    ESTIMATED,
    JOINT,
    STRONGEST,
    LateCounts,
    Result,
    Rule,
    Score,
    SourceLedger,
    Verdict,
)
from monitoring.scoring.lag import ScoringLag
from monitoring.web.metrics.approvals import approval_metrics
from monitoring.web.metrics.batch_days import SHOWN_PERIOD, batch_metrics
from monitoring.web.metrics.effect import effect_metrics
from monitoring.web.metrics.health import health_metrics
from monitoring.web.metrics.partitions import partition_metrics
from monitoring.web.metrics.retrain_loops import retrain_loop_metrics
from monitoring.web.metrics.schedules import schedule_metrics
from monitoring.web.metrics.segments import segment_metrics
from monitoring.web.metrics.traffic import traffic_metrics
from monitoring.web.overview import HISTORY
from monitoring.web.queries import Queries
from monitoring.web.retrain_loops import NO_RETRAINING, Retraining
from monitoring.web.traffic_share import request_shares
from monitoring.web.window_view import QUALITY, columns, coverage
from monitoring.windows.totals import ClosedTotals
from registry.pending_approvals import PendingApproval
from telemetry.clock import now_us

MOST_VERSIONS = 1_000  # versions with series; ten thousand versions would have 110,000 series
VERSION = ["model", "version"]
SOURCE = ["source"]


class StoreCollector(Collector):
    """Builds the metrics at each scrape."""

    def __init__(  # noqa: PLR0913 - the sources of the metrics
        self,
        store: Queries,
        progress: ReaderLag | None,
        scoring: ScoringLag | None = None,
        pending: Sequence[PendingApproval] = (),
        retraining: Retraining = NO_RETRAINING,
        *,
        most_versions: int = MOST_VERSIONS,
    ) -> None:
        self._store = store
        self._progress = progress
        self._scoring = scoring
        self._pending = pending
        self._retraining = retraining
        self._most_versions = most_versions

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from _ingestion_lag(self._progress)
        yield from _scoring_lag(self._scoring)
        yield from _sources(self._store.ledger())
        yield from partition_metrics(self._store.partitions(), now_us())
        yield from _counters(self._store.totals())
        pairs, without = _busiest(self._store, self._most_versions)
        yield _omitted_versions(without)
        recent = (self._store.recent(*pair, last=HISTORY) for pair in pairs)
        results = [windows for windows in recent if windows]
        closed = {pair: self._store.closed(*pair) for pair in pairs}
        yield from _rows(closed)
        yield from _late({pair: self._store.late(*pair) for pair in pairs})
        yield from _verdicts(results, closed)
        yield from _latest([windows[-1] for windows in results])
        yield from _window_drift([windows[-1] for windows in results])
        yield from _columns([windows[-1] for windows in results])
        yield from _coverage(results)
        yield from _performance(results)
        open_windows = [window for pair in pairs for window in self._store.live(*pair)]
        everything = [window for windows in results for window in windows] + open_windows
        yield from health_metrics(results, request_shares(everything))
        yield from segment_metrics(results)
        yield from effect_metrics(results)
        yield from traffic_metrics(self._store.newest_traffic())
        yield from batch_metrics(self._store.newest_batch_days(now_us() - SHOWN_PERIOD))
        yield from _alarms(self._store, pairs)
        yield from _webhooks(self._store)
        yield from approval_metrics(self._pending)
        yield from retrain_loop_metrics(self._retraining.loops)
        yield from schedule_metrics(self._retraining.schedules, now_us())


def exposition(
    store: Queries,
    progress: ReaderLag | None = None,
    scoring: ScoringLag | None = None,
    pending: Sequence[PendingApproval] = (),
    retraining: Retraining = NO_RETRAINING,
) -> bytes:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(store, progress, scoring, pending, retraining))
    return generate_latest(registry)


def _ingestion_lag(progress: ReaderLag | None) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "driftline_monitor_lag_seconds",
        "Age of the oldest event that is read but not ingested; 0 if there is none.",
    )
    polled = GaugeMetricFamily(
        "driftline_monitor_last_poll_timestamp_seconds",
        "Time at which the monitor last read the log.",
    )
    damaged = GaugeMetricFamily(
        "driftline_monitor_damaged_batch_offset",
        "Offset of the damaged batch at which reading of a Kafka partition has stopped; absent if "
        "there is none.",
        labels=["topic", "partition"],
    )
    if progress is not None:
        lag.add_metric([], progress.lag)
        polled.add_metric([], progress.polled)
        for stream, offset in dict(progress.damaged).items():
            damaged.add_metric(stream.rsplit("/", 1), offset)
    yield from (lag, polled, damaged)


def _scoring_lag(scoring: ScoringLag | None) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "driftline_monitor_waiting_scores", "Windows that are queued for scoring."
    )
    age = GaugeMetricFamily(
        "driftline_monitor_oldest_waiting_score_seconds",
        "Time for which the oldest window has been queued for scoring; 0 if none is queued.",
    )
    if scoring is not None:
        waiting.add_metric([], scoring.waiting)
        age.add_metric([], scoring.age)
    yield from (waiting, age)


def _sources(ledger: Iterable[SourceLedger]) -> Iterator[Metric]:
    monitored = CounterMetricFamily(
        "driftline_monitored_events", "Events read from the log and ingested.", labels=SOURCE
    )
    lost = CounterMetricFamily(
        "driftline_events_lost", "Events that were counted as lost.", labels=SOURCE
    )
    recovered = CounterMetricFamily(
        "driftline_events_recovered",
        "Events that arrived after they had been counted as lost.",
        labels=SOURCE,
    )
    missing = GaugeMetricFamily(
        "driftline_events_missing",
        "Events that have not arrived, but are not yet counted as lost.",
        labels=SOURCE,
    )
    duplicated = CounterMetricFamily(
        "driftline_events_duplicated", "Duplicate events, which are ignored.", labels=SOURCE
    )
    unreadable = CounterMetricFamily(
        "driftline_unreadable_events", "Records that do not match an event schema.", labels=SOURCE
    )
    for source in ledger:
        monitored.add_metric([source.source], source.events - source.unreadable)
        # A counter must not decrease, so recovered events are not subtracted here.
        lost.add_metric([source.source], source.lost + source.recovered)
        recovered.add_metric([source.source], source.recovered)
        missing.add_metric([source.source], source.missing)
        duplicated.add_metric([source.source], source.duplicated)
        unreadable.add_metric([source.source], source.unreadable)
    yield from (monitored, lost, recovered, missing, duplicated, unreadable)


# Counters that begin at 0, because an alert on the increase misses the first event of a new series.
_ZERO_COUNTERS = {"unfit_labels": 0}


def _counters(totals: dict[str, int]) -> Iterator[Metric]:
    counted = CounterMetricFamily(
        "driftline_counted",
        "The monitor's counters by name: late_rows, unknown_labels, expired_early_labels, ...",
        labels=["what"],
    )
    for what, count in sorted((_ZERO_COUNTERS | totals).items()):
        counted.add_metric([what], count)
    yield counted


def _rows(closed: Mapping[tuple[str, str], ClosedTotals]) -> Iterator[Metric]:
    rows = GaugeMetricFamily("driftline_rows", "Predicted rows of closed windows.", labels=VERSION)
    labels = GaugeMetricFamily(
        "driftline_row_labels",
        "Rows of closed windows by the state of their label.",
        labels=[*VERSION, "state"],
    )
    for key, totals in closed.items():
        if totals.windows:
            rows.add_metric(key, totals.rows)
            for state in ("labelled", "pending", "expired", "conflicting"):
                labels.add_metric([*key, state], getattr(totals, state))
    yield from (rows, labels)


def _late(late: dict[tuple[str, str], LateCounts]) -> Iterator[Metric]:
    events = CounterMetricFamily(
        "driftline_late_events",
        "Events that arrived after their window had closed.",
        labels=VERSION,
    )
    rows = CounterMetricFamily(
        "driftline_late_rows",
        "Rows of late events; they are not scored.",
        labels=VERSION,
    )
    for pair, counts in late.items():
        events.add_metric(pair, counts.events)
        rows.add_metric(pair, counts.rows)
    yield from (events, rows)


def _verdicts(
    results: Iterable[list[Result]], closed: Mapping[tuple[str, str], ClosedTotals]
) -> Iterator[Metric]:
    latest = GaugeMetricFamily(
        "driftline_window_verdict",
        "1 for the latest window's verdict, 0 for the other verdicts.",
        labels=[*VERSION, "verdict"],
    )
    windows = GaugeMetricFamily(
        "driftline_windows", "Closed windows by verdict.", labels=[*VERSION, "verdict"]
    )
    for recent in results:
        key = recent[-1].model, recent[-1].version
        for verdict in get_args(Verdict):
            latest.add_metric([*key, verdict], float(recent[-1].verdict == verdict))
            windows.add_metric([*key, verdict], closed[key].windows.get(verdict, 0))
    yield from (latest, windows)


def _window_drift(latest: Iterable[Result]) -> Iterator[Metric]:
    whole = GaugeMetricFamily(
        "driftline_window_drift_whole",
        "Largest drift of a column, and change of correlations, divided by their limits, latest "
        "window.",
        labels=[*VERSION, "measure"],
    )
    for result in latest:
        for score in result.scores:
            if score.name in (STRONGEST, JOINT) and score.of_whole and score.value is not None:
                whole.add_metric([result.model, result.version, score.name], score.value)
    yield whole


def _latest(latest: Iterable[Result]) -> Iterator[Metric]:
    rows = GaugeMetricFamily("driftline_window_rows", "Rows of the latest window.", labels=VERSION)
    end = GaugeMetricFamily(
        "driftline_window_end_seconds",
        "End of the latest window, in event time.",
        labels=VERSION,
    )
    share = GaugeMetricFamily(
        "driftline_window_drifted_share", "Share of drifted columns, latest window.", labels=VERSION
    )
    drift = GaugeMetricFamily(
        "driftline_window_drift",
        "Drift statistic of a column, latest window.",
        labels=[*VERSION, "column", "method"],
    )
    breached = GaugeMetricFamily(
        "driftline_window_drift_breached",
        "Whether a column is beyond its drift threshold, latest window.",
        labels=[*VERSION, "column"],
    )
    for result in latest:
        key = [result.model, result.version]
        rows.add_metric(key, result.rows)
        end.add_metric(key, result.window.end / 1e6)
        for score in result.scores:
            if score.value is None:
                continue
            if score.name == "drift" and score.column and not score.segment:
                drift.add_metric([*key, score.column, score.method], score.value)
                breached.add_metric([*key, score.column], float(score.breached))
            elif score.name == "drifted_share" and score.of_whole:
                share.add_metric(key, score.value)
    yield from (rows, end, share, drift, breached)


def _columns(latest: Iterable[Result]) -> Iterator[Metric]:
    severity = GaugeMetricFamily(
        "driftline_window_drift_severity",
        "Drift of a column divided by its threshold, latest window; 1 and above is a breach.",
        labels=[*VERSION, "column"],
    )
    quality = GaugeMetricFamily(
        "driftline_window_quality",
        "Share of a column's values that are missing, out of range, unseen or of another type, "
        "latest window.",
        labels=[*VERSION, "column", "measure"],
    )
    quality_breached = GaugeMetricFamily(
        "driftline_window_quality_breached",
        "Whether a measure of a column's quality is beyond its limit, latest window.",
        labels=[*VERSION, "column", "measure"],
    )
    for result in latest:
        key = [result.model, result.version]
        for column in columns(result):
            if column.severity is not None:
                severity.add_metric([*key, column.name], column.severity)
            for name, score in column.others.items():
                if score.value is not None and name.endswith("_share"):
                    quality.add_metric([*key, column.name, name], score.value)
                if score.value is not None and name in QUALITY:
                    quality_breached.add_metric([*key, column.name, name], float(score.breached))
    yield from (severity, quality, quality_breached)


def _coverage(results: Iterable[list[Result]]) -> Iterator[Metric]:
    share = GaugeMetricFamily(
        "driftline_window_label_coverage",
        "Share of rows with a label, newest window that no longer waits for labels.",
        labels=VERSION,
    )
    for windows in results:
        complete = [window for window in windows if window.pending == 0 and window.rows]
        if complete and (labelled_share := coverage(complete[-1])) is not None:
            share.add_metric([complete[-1].model, complete[-1].version], labelled_share)
    yield share


def _performance(results: Iterable[list[Result]]) -> Iterator[Metric]:
    figures = GaugeMetricFamily(
        "driftline_window_score",
        "Performance score, latest window with this score. Estimates (estimated_...) do not need "
        "labels, so their window is often newer.",
        labels=[*VERSION, "score"],
    )
    bounds = GaugeMetricFamily(
        "driftline_window_score_bound",
        "Bound of the performance score's 95 % confidence interval.",
        labels=[*VERSION, "score", "bound"],
    )
    for windows in results:
        key = [windows[0].model, windows[0].version]
        for score in _newest(windows):
            if score.value is None:
                continue
            figures.add_metric([*key, score.name], score.value)
            for bound, value in (("low", score.low), ("high", score.high)):
                if value is not None:
                    bounds.add_metric([*key, score.name, bound], value)
    yield from (figures, bounds)


def _newest(windows: Iterable[Result]) -> Iterable[Score]:
    """Return the newest value of each performance score, realised and estimated."""
    return {
        score.name: score
        for window in windows
        for score in window.scores
        if score.name.removeprefix(ESTIMATED) in PERFORMANCE
        and score.of_whole
        and score.value is not None
    }.values()


def _busiest(store: Queries, most: int) -> tuple[list[tuple[str, str]], int]:
    """Return the versions that get series, and the number of versions without series.

    Versions with the newest requests and versions with open alarms get series.
    """
    pairs = store.monitored_versions()
    if len(pairs) <= most:
        return pairs, 0
    newest = store.newest_requests()
    selection = set(sorted(pairs, key=lambda pair: (-newest.get(pair, 0), pair))[:most])
    selection |= {
        (alarm.model, alarm.version) for alarm in store.alarms() if alarm.state != "resolved"
    }
    return [pair for pair in pairs if pair in selection], len(pairs) - len(selection & set(pairs))


def _omitted_versions(versions: int) -> Metric:
    omitted = GaugeMetricFamily(
        "driftline_versions_without_series",
        "Versions without metrics, because too many other versions had more recent requests.",
    )
    omitted.add_metric([], versions)
    return omitted


def _alarms(store: Queries, pairs: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    alarms = GaugeMetricFamily(
        "driftline_alarms", "Alarms by state.", labels=[*VERSION, "rule", "state"]
    )
    counts: dict[tuple[str, ...], int] = {
        (*pair, rule, "firing"): 0 for pair in pairs for rule in get_args(Rule)
    }
    shown = {*pairs}
    for alarm in store.alarms():
        if (alarm.model, alarm.version) not in shown:
            continue
        key: tuple[str, ...] = (alarm.model, alarm.version, alarm.rule, alarm.state)
        counts[key] = counts.get(key, 0) + 1
    for key, count in sorted(counts.items()):
        alarms.add_metric(list(key), count)
    yield alarms


def _webhooks(store: Queries) -> Iterator[Metric]:
    webhooks = GaugeMetricFamily(
        "driftline_webhooks",
        "Webhooks by state; unsent: pending without an attempt, for example without a receiver.",
        labels=["state"],
    )
    states = [
        "unsent" if delivery.state == "pending" and not delivery.attempts else delivery.state
        for delivery in store.deliveries()
    ]
    for state in ("unsent", "pending", "delivered", "dead", "superseded"):
        webhooks.add_metric([state], states.count(state))
    yield webhooks
