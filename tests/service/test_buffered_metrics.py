"""Buffered counts become visible by a flush."""

from prometheus_client import REGISTRY

from service.telemetry import metrics
from tests.monitoring.log_in_memory import VERSION


def test_replies_of_the_previous_version_are_counted_after_a_flush() -> None:
    labels = {"model": VERSION.model, "version": VERSION.number, "reason": "not ready"}
    name = "driftline_rollout_fallbacks_total"
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    metrics.count_fallback(VERSION, "not ready")
    metrics.flush()
    assert REGISTRY.get_sample_value(name, labels) == before + 1
