"""A window's columns next to the reference's: binned and drawn as bars."""

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.settings import Home
from monitoring.results import Result, Window
from monitoring.scoring.reference import Column
from monitoring.web.app import app
from monitoring.web.charts.bars import bars
from monitoring.web.distributions import Distribution, Rows
from monitoring.web.distributions import distribution as distribution_of
from monitoring.web.server import serving
from registry.store import Registry
from tests.tiny_model import register_tiny

NUMBERS = Column("x", "numeric", "x")
WORDS = Column("x", "categorical", "x")


def distribution(column: Column, reference: pd.DataFrame, rows: pd.DataFrame) -> Distribution:
    return distribution_of(
        column, Rows(reference, "in the reference"), Rows(rows, "in this window")
    )


def _frame(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


def test_numbers_fall_into_ranges_of_the_reference_with_open_ends() -> None:
    reference = _frame(np.linspace(0, 100, 1001))
    shown = distribution(NUMBERS, reference, _frame([-5.0, 50.0, 50.0, 1e9]))
    first, *_, last = shown.bins
    assert (shown.numeric, first.name, last.name) == (True, "below 1", "above 99")
    assert (first.current, last.current) == (0.25, 0.25)
    assert sum(one.expected for one in shown.bins) == pytest.approx(1)
    [crowded] = [one for one in shown.bins if one.current == 0.5]
    assert crowded.expected == pytest.approx(1 / 18, abs=0.01)


def test_few_values_have_a_bin_each_and_new_values_are_pooled() -> None:
    shown = distribution(WORDS, _frame(["a"] * 3 + ["b"]), _frame(["b", "new", None]))
    reported = [(one.name, one.expected, one.current) for one in shown.bins]
    assert reported == [("a", 0.75, 0.0), ("b", 0.25, 0.5), ("all others", 0.0, 0.5)]


def test_codes_stay_in_their_order() -> None:
    shown = distribution(NUMBERS, _frame([2, 2, 1, 3]), _frame([1, 1, 3]))
    assert [one.name for one in shown.bins] == ["1", "2", "3"]


def test_a_column_without_values_states_on_which_side() -> None:
    known, missing = _frame([1.0, 2.0]), _frame([None, "no number"])
    assert distribution(NUMBERS, known, missing).note == (
        "all values are missing, infinite or no numbers in this window"
    )
    assert distribution(NUMBERS, missing, known).note == (
        "all values are missing, infinite or no numbers in the reference"
    )


@given(
    st.lists(st.floats(allow_nan=True) | st.text(max_size=3) | st.none(), max_size=60),
    st.lists(st.floats(allow_nan=True) | st.integers() | st.none(), max_size=60),
    st.sampled_from([NUMBERS, WORDS]),
)
def test_each_row_with_a_value_is_in_exactly_one_bin(
    reference: list[Any], window: list[Any], column: Column
) -> None:
    shown = distribution(column, _frame(reference), _frame(window))
    if shown.bins:
        assert sum(one.current for one in shown.bins) == pytest.approx(1)
        assert sum(one.expected for one in shown.bins) == pytest.approx(1)
        assert "<title>" in bars(shown)
    else:
        assert shown.note


def test_the_window_page_draws_every_column_of_a_registered_version(
    store: Any, reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files", payload={"fields": {"colour": "drop"}})
    window = Window(0, 1)
    scores = [s for r in store.all_results for s in r.scores if s.name == "drift"][:1]
    store.all_results = [
        Result(
            model="tiny",
            version="1",
            window=window,
            rows=3,
            sampled=3,
            scores=[_named(scores[0], name) for name in ("price", "colour", "prediction")],
        )
    ]
    store.frame = pd.DataFrame(
        {"price": [0.1, 0.2, 9.0], "colour": [None] * 3, "prediction": [0, 1, 1],
         "probability_1": [0.1, 0.9, 0.9], "label": [None] * 3}
    )  # fmt: skip
    with (
        serving(app(lambda: store, reports, catalogue=registry), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        page = client.get("/models/tiny/1/windows/0").text
    drawn = re.findall(r'aria-label="(price|colour|prediction): ', page)
    assert drawn == ["prediction", "price"], "equal scores, so by name"
    assert "not scored: dropped by payload policy" in page


def _named(score: Any, column: str) -> Any:
    return msgspec.structs.replace(score, column=column)
