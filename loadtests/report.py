"""Judge a load by locust's statistics, for the terminal and the HTML report."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtests.users import REFUSED
from loadtests.verdict import (
    ClientMeasurements,
    Generator,
    LoadVerdict,
    Measurements,
    Objectives,
    judge,
    quantile,
)


def conclude(environment: Any, generators: Sequence[Generator]) -> LoadVerdict:
    """Return the verdict on a finished load; `generators` has one item per sending process."""
    options = environment.parsed_options
    busiest = Generator(
        cpu=max((generator.cpu for generator in generators), default=0.0),
        late_ms=max((generator.late_ms for generator in generators), default=0.0),
    )
    objectives = Objectives(options.p99_ms, options.max_error_share)
    verdict = judge(objectives, _client_measurements(environment.stats, options.warm_up), busiest)
    traffic = getattr(environment, "traffic", None)  # absent in the master
    if traffic is None or traffic.replay is None:
        return verdict
    return msgspec.structs.replace(verdict, lines=[traffic.replay.note, *verdict.lines])


def write_measurements(file: Path, environment: Any, generators: Sequence[Generator]) -> None:
    """Write the measurements of clients and generators as JSON."""
    measured = Measurements(
        _client_measurements(environment.stats, environment.parsed_options.warm_up),
        list(generators),
    )
    file.write_bytes(msgspec.json.encode(measured))


def write_into(report: Path, verdict: LoadVerdict) -> None:
    """Insert the verdict at the top of locust's HTML report."""
    colour = "#2e7d32" if verdict.outcome == verdict.outcome.MET else "#c62828"
    summary = (
        f'<pre style="margin:0;padding:1em;color:#fff;background:{colour};white-space:pre-wrap">'
        f"{html.escape(str(verdict))}</pre>"
    )
    page = report.read_text("utf-8")
    report.write_text(page.replace("<body>", f"<body>{summary}", 1), "utf-8")


def _client_measurements(stats: Any, warm_up: float) -> ClientMeasurements:
    entries = stats.entries.values()
    refused = [entry for entry in entries if entry.name == REFUSED]
    latencies = [entry.response_times for entry in entries if entry.name == "predict"]
    predictions = [entry for entry in entries if entry.name == "predict"]
    answered = sum(entry.num_requests for entry in predictions)
    spent = sum(entry.total_response_time for entry in predictions)
    begun = stats.total.start_time or 0.0
    ended = stats.total.last_request_timestamp or begun
    return ClientMeasurements(
        requests=stats.total.num_requests,
        failed=stats.total.num_failures,
        refused=sum(entry.num_requests for entry in refused),
        seconds=max(ended - begun - warm_up, 0.0),
        p50_ms=quantile(latencies, 0.5),
        p99_ms=quantile(latencies, 0.99),
        mean_ms=spent / answered if answered else 0.0,
    )
