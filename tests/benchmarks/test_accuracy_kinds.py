"""The false-alarm budget holds for kinds of data that are hard to calibrate."""

import pytest
from scipy.stats import binom

from benchmarks.accuracy.kinds import Kind, kinds, moved_inputs, without_change
from tests.depth import NIGHTLY

SHORT = {
    ("independent columns", "5 columns"),
    ("categories, all alike", "1,000"),
    ("identifiers", "one a row"),
    ("season in event time", "weekends + 2 sd, daily windows"),
}
LONG = SHORT | {
    ("independent columns", "20 columns"),
    ("categories, few frequent", "10,000"),
    ("units", "times 1e-05"),
}


@pytest.mark.untraced
@pytest.mark.parametrize(
    "kind",
    [kind for kind in kinds() if (kind.name, kind.size) in (LONG if NIGHTLY else SHORT)],
    ids=lambda kind: f"{kind.name}, {kind.size}, {kind.reference_rows} rows",
)
def test_windows_without_drift_break_the_rule_within_the_budget(
    kind: Kind,
) -> None:
    found = without_change(kind, seed=20260101, references=6, windows=5, one_in=20)
    assert found.broken <= binom.ppf(0.99, found.windows, found.level), found


def test_drifted_inputs_raise_no_concept_drift_alarm() -> None:
    assert moved_inputs(2.0, seed=20260101, streams=1, windows=6) == 0
