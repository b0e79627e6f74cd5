"""Generate docs/metrics.md from the declarations: python deploy/metrics_page.py [FILE]."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, Metric

import service.telemetry.metrics
import service.telemetry.triton
from eventlog.forwarder_metrics import ForwarderMetrics
from eventlog.lag import ReaderLag
from monitoring.web.metrics.collector import StoreCollector

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
HEAD = """# Metrics

This page lists every Prometheus metric. It is generated from the declarations by
`python deploy/metrics_page.py`.

Names end in their unit; names that end in `_total` are counters. Label values are the names of
registered models, versions and columns, or of configured sources. Clients cannot create label
values. Rules and dashboards are in `deploy/prometheus` and `deploy/grafana`; each alert has a
[runbook](runbooks/index.md).
"""
Declared = tuple[str, str, str, str]  # name, type, labels, meaning


class _NothingFound:
    """A store without data, because the declarations of metrics do not depend on data."""

    def ledger(self) -> list[Any]:
        return []

    monitored_versions = alarms = deliveries = partitions = ledger

    def totals(self) -> dict[str, int]:
        return {}

    newest_traffic = newest_requests = totals

    def newest_batch_days(self, _start: int) -> dict[Any, Any]:
        return {}


def main(page: Path) -> None:
    """Write the page."""
    own = _service()
    triton = [metric for metric in own if metric[0].startswith("nv_")]
    forwarder = ForwarderMetrics(ReaderLag(time.time), lambda: 0).registry
    store: Any = _NothingFound()
    sections = {
        "Service: `/metrics` of `driftline serve`": [
            metric for metric in own if metric not in triton
        ],
        "Service, with `DRIFTLINE_SERVICE_TRITON_METRICS=true`": triton,
        "Monitor: `/metrics` of `driftline monitor`": _of(StoreCollector(store, None).collect()),
        "Forwarder: `/metrics` at `DRIFTLINE_FORWARDER_METRICS_PORT`": _of(forwarder.collect()),
    }
    page.write_text(HEAD + "".join(_section(*section) for section in sections.items()))


def _service() -> list[Declared]:
    assert service.telemetry.triton, "importing it declares its metrics"
    declared: list[Any] = list(REGISTRY._collector_to_names)  # noqa: SLF001  # its only list of them
    return [
        (metric._name, metric._type, ", ".join(metric._labelnames), metric._documentation)  # noqa: SLF001
        for metric in declared
        if hasattr(metric, "_labelnames") and metric._name.startswith(("driftline_", "nv_"))  # noqa: SLF001
    ]


def _of(metrics: Iterable[Metric]) -> list[Declared]:
    return [
        (
            metric.name,
            metric.type,
            ", ".join(getattr(metric, "_labelnames", ())),
            metric.documentation,
        )
        for metric in metrics
        if not metric.name.endswith("_created")
    ]


def _section(title: str, metrics: list[Declared]) -> str:
    lines = [f"\n## {title}\n", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, kind, labels, meaning in metrics:
        full = f"{name}_total" if kind == "counter" else name
        lines.append(f"| `{full}` | {kind} | {labels} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
