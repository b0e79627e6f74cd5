"""The page and the metrics show a window's segments."""

import re
from typing import Any

import httpx
import msgspec

from monitoring.results import Result, Score
from monitoring.web.segment_tables import segment_tables
from tests.monitoring.web.test_web_api import samples
from tests.monitoring.web.test_web_pages import HOSTILE, text_of

SCORES = [
    Score(name="rows", value=1200.0, segment="carrier=UA", note="20.0%, reference 18.0%"),
    Score(name="selection_rate", value=0.41, low=0.38, high=0.44, segment="carrier=UA"),
    Score(name="roc_auc", value=None, segment="carrier=UA", note="3 labels are known"),
    Score(name="rows", value=12.0, segment="carrier=a=b", note="too few"),
    Score(name="selection_rate_gap", value=0.19, low=0.1, high=0.3, segment="carrier", note="UA"),
    Score(name="segments", value=None, segment="size", note="'size' is not a feature"),
]


def _with_segments(store: Any, *more: Score) -> Result:
    known = store.all_results[3]
    reported: Result = msgspec.structs.replace(known, scores=[*known.scores, *SCORES, *more])
    store.all_results[3] = reported
    return reported


def test_segments_are_read_by_column_and_group(store: Any) -> None:
    carrier, size = segment_tables(_with_segments(store))
    assert [group.name for group in carrier.groups] == ["UA", "a=b"]
    assert list(carrier.figures) == ["selection_rate", "roc_auc"]
    assert [gap.value for gap in carrier.gaps] == [0.19]
    assert (size.column, size.groups, size.note) == ("size", [], "'size' is not a feature")


def test_a_window_shows_its_segments(client: httpx.Client, store: Any) -> None:
    hostile = Score(name="rows", value=1.0, segment=f"carrier={HOSTILE}")
    start = _with_segments(store, hostile).window.start
    page = client.get(f"/models/flights/1/windows/{start}")
    assert HOSTILE not in page.text
    text = re.sub(r"\s+", " ", text_of(page))
    assert "By carrier" in text
    assert "0.4100.380 to 0.440" in text
    assert "ROC AUC: 3 labels are known" in text
    assert "Gap in selection rate: 0.190 (0.100 to 0.300); UA" in text
    assert "&#39;size&#39; is not a feature" in text


def test_a_gap_above_its_limit_is_shown_with_the_limit(client: httpx.Client, store: Any) -> None:
    gap = Score(
        name="selection_rate_gap", value=0.4, threshold=0.2, breached=True, segment="origin",
        note="JFK 0.5, LGA 0.1",
    )  # fmt: skip
    result = _with_segments(store, gap)
    text = text_of(client.get(f"/models/flights/1/windows/{result.window.start}"))
    assert "JFK 0.5, LGA 0.1; threshold 0.200" in text


def test_segment_metrics_cover_the_latest_windows_groups(client: httpx.Client, store: Any) -> None:
    _with_segments(store)
    found = samples(client)
    name = "driftline_window_segment"
    assert found[name, "1", "carrier=UA", "flights", "selection_rate"] == 0.41
    assert found[name, "1", "carrier=a=b", "flights", "rows"] == 12
    assert found["driftline_window_gap", "1", "carrier", "flights", "selection_rate_gap"] == 0.19
    assert (name, "1", "carrier=UA", "flights", "roc_auc") not in found
