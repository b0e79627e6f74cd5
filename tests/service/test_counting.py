"""Request counts become visible completely, at a bounded cost."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from service.telemetry.buffered import BufferedCounter, BufferedHistogram
from service.telemetry.metrics import pause_after

BOUNDS = (1.0, 2.0, 5.0)
values = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=30)


@given(values)
def test_no_count_is_lost_whenever_it_is_flushed(observed: list[tuple[str, int, bool]]) -> None:
    registry = CollectorRegistry()
    plain = Histogram("plain", "As the library counts.", ["of"], buckets=BOUNDS, registry=registry)
    kept = Histogram("kept", "By way of ours.", ["of"], buckets=BOUNDS, registry=registry)
    counter = Counter("counted", "Observations.", ["of"], registry=registry)
    histogram, counts = BufferedHistogram(kept, BOUNDS), BufferedCounter(counter)
    for of, value, flushes in observed:
        plain.labels(of).observe(value)
        histogram.observe((of,), value)
        counts.inc((of,))
        if flushes:
            histogram.flush()
            counts.flush()
    histogram.flush()
    counts.flush()
    for of in {of for of, _, _ in observed}:
        for bound in ("1.0", "2.0", "5.0", "+Inf"):
            about = {"of": of, "le": bound}
            shown = registry.get_sample_value("kept_bucket", about)
            assert shown == registry.get_sample_value("plain_bucket", about)
        reported = {"of": of}
        total = registry.get_sample_value("plain_sum", reported)
        assert registry.get_sample_value("kept_sum", reported) == total
        number = registry.get_sample_value("plain_count", reported)
        assert registry.get_sample_value("counted_total", reported) == number


def test_flushes_are_rarer_the_more_they_cost_but_precede_each_scrape() -> None:
    assert pause_after(0.0001, 0.25) == 0.25
    assert 1 < pause_after(0.002, 0.25) < 10
    assert pause_after(0.1, 0.25) == 10
