"""Compare a window with the reference's rows of the same time of day or week.

If a reference's rows have event times, it can have a season: a period of a day or a week
(`season_test.py`). A Sunday is then compared with Sundays. If the reference has no season, or too
few periods or rows of a time, a window is compared with the whole reference. Limits are then
widened by the variation of the reference's own windows (`seasons.py`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from monitoring.results import Window
from monitoring.scoring.drift.drift_values import by_frequency
from monitoring.scoring.drift.null_distribution import NullSampler, PastWindows
from monitoring.scoring.drift.season_test import SEVERAL, WEEK, block_length, full_blocks, season_of
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.feature_values import categories, numbers_of
from monitoring.scoring.reference import Baseline, Column
from monitoring.scoring.score_rules import Array
from telemetry.clock import DAY, HOUR

_LEAST_ROWS = 200  # minimum reference rows of the window's time of day or week
_MOST_COLUMNS = 64  # maximum columns that are tested for a season
_COMMON = 3  # maximum values of a categorical column that are tested for a season
_MOST_BLOCKS = 56  # maximum past blocks that are compared
_MOST_TIMES = 200  # maximum times of a season whose limits are cached


class LikeRows(NamedTuple):
    """The reference rows that a window is compared with."""

    baseline: Baseline
    thresholds: DriftThresholds
    note: str  # description of the selected rows; empty for the whole reference


class LikeTimes:
    """The reference rows for each window; each time of the season is calibrated once."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the reference; nothing is computed before the first window."""
        self._baseline = baseline.in_order_of_time()
        self._seasons: dict[int, int] = {}  # length of blocks -> period of the season, 0 for none
        self._whole: dict[int, LikeRows] = {}  # length of windows -> whole reference
        # (period, start within the period, length) -> rows; None if there are too few rows
        self._parts: dict[tuple[int, int, int], LikeRows | None] = {}

    def of(self, window: Window) -> LikeRows:
        """Return the reference rows that a window is compared with, and their thresholds."""
        times, length = self._baseline.times, window.end - window.start
        if times is None or self._baseline.manifest.monitoring.window.length is None:
            return self._whole_reference(0)
        period = self._season(length)
        for cycle in (period, DAY) if period == WEEK and length < DAY else (period,):
            if cycle and (blocks := self._part_at_same_time(window, cycle)) is not None:
                return blocks
        return self._whole_reference(length)

    def _season(self, length: int) -> int:
        block = block_length(length)
        if block not in self._seasons:
            assert self._baseline.times is not None
            self._seasons[block] = season_of(self._baseline.times, self._measures, length)
        return self._seasons[block]

    def _whole_reference(self, length: int) -> LikeRows:
        if length not in self._whole:
            past = None
            if length and self._baseline.times is not None:
                past = _PastOfAll(full_blocks(self._baseline.times, length))
            thresholds = DriftThresholds(self._baseline, past)
            self._whole[length] = LikeRows(self._baseline, thresholds, "")
        return self._whole[length]

    def _part_at_same_time(self, window: Window, period: int) -> LikeRows | None:
        """Return the reference rows of the window's time in a period; None if too few exist."""
        start = window.start // HOUR * HOUR
        length = -(-window.end // HOUR) * HOUR - start
        key = (period, start % period, length)
        if key not in self._parts:
            if len(self._parts) >= _MOST_TIMES:
                self._parts.clear()
            self._parts[key] = self._calibrated(start, length, period)
        return self._parts[key]

    def _calibrated(self, start: int, length: int, period: int) -> LikeRows | None:
        times = self._baseline.times
        assert times is not None
        rows = np.flatnonzero((times - start) % period < length)
        periods = np.unique((times[rows] - start) // period)
        if len(rows) < _LEAST_ROWS or len(periods) < SEVERAL:
            return None
        part = self._baseline.with_rows(rows)
        block = block_length(length)
        return LikeRows(
            part,
            DriftThresholds(part, _PastOfTimes(self._baseline, part, block, period)),
            f"of the registered reference, from the same time of the "
            f"{'week' if period == WEEK else 'day'}: {_time_text(start, length, period)} UTC, "
            f"{len(periods)} {'weeks' if period == WEEK else 'days'}",
        )

    @cached_property
    def _measures(self) -> Array:
        """Standardised numbers [rows, k] of the features; a season changes their means."""
        measures: list[Array] = []
        frame = self._baseline.frame
        for column in self._baseline.columns[:_MOST_COLUMNS]:
            if column.stored in frame:
                measures += _measures(column, frame[column.stored])
        return np.column_stack(measures) if measures else np.zeros((len(frame), 0))


def _measures(column: Column, values: "pd.Series[Any]") -> list[Array]:
    missing = values.isna().to_numpy(dtype=float)
    if column.kind == "numeric":
        numbers = numbers_of(values)
        ranks = pd.Series(numbers).rank(pct=True).fillna(0.5).to_numpy(dtype=float)
        return [ranks, np.abs(ranks - 0.5), missing]
    names = categories(values)
    common = by_frequency(names).index[:_COMMON]
    return [*((names == name).to_numpy(dtype=float) for name in common), missing]


class _PastOfAll:
    """Past windows of a reference, each compared with the whole reference."""

    def __init__(self, blocks: Sequence[Array]) -> None:
        """`blocks` contain the row numbers of the past windows."""
        self._blocks = _evenly(blocks)

    def of(self, sampler: NullSampler) -> PastWindows:
        """Return the statistics of the past windows."""
        if not sampler.is_whole:  # the sampler's pieces do not contain whole blocks
            return sampler.past_windows(())
        return sampler.past_windows(self._blocks)


class _PastOfTimes:
    """Past blocks, each compared with the other blocks of the same time of day or week."""

    def __init__(self, baseline: Baseline, part: Baseline, block: int, period: int) -> None:
        """`baseline` is the whole reference in order of time, `part` the rows to calibrate."""
        self._baseline = baseline
        self._part = part
        self._block = block
        self._period = period

    def of(self, sampler: NullSampler) -> PastWindows:
        """Return the statistics of the past blocks, in units of the rows of the same time.

        Correlations are only compared within the part, because the encoded columns can differ
        between times.
        """
        if not sampler.is_whole or self._part.times is None:
            return self._past
        return self._past._replace(places=full_blocks(self._part.times, self._block))

    @cached_property
    def _past(self) -> PastWindows:
        times = self._baseline.times
        assert times is not None
        by_time: dict[int, list[Array]] = {}
        for rows in full_blocks(times, self._block):
            start = int(times[rows[0]]) // self._block * self._block
            by_time.setdefault(start % self._period, []).append(rows)
        repeated = [blocks for blocks in by_time.values() if len(blocks) >= SEVERAL]
        most_repeats = max((len(blocks) for blocks in repeated), default=1)
        parts = [
            self._statistics_of_time(blocks)
            for blocks in _evenly(repeated, max(1, _MOST_BLOCKS // most_repeats))
        ]
        return PastWindows.joined(parts)

    def _statistics_of_time(self, blocks: Sequence[Array]) -> PastWindows:
        rows = np.concatenate(blocks)
        ends = np.cumsum([len(block) for block in blocks])
        places = np.split(np.arange(len(rows)), ends[:-1])
        sampler = NullSampler(self._baseline.with_rows(rows))
        return sampler.past_windows(places if sampler.is_whole else (), left_out=True)


def _evenly(items: Sequence[Any], most: int = _MOST_BLOCKS) -> list[Any]:
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int))
    return [items[place] for place in places] if len(items) else []


def _time_text(start: int, length: int, period: int) -> str:
    first, last = (datetime.fromtimestamp(time / 1e6, UTC) for time in (start, start + length))
    form = "%a %H:%M" if period == WEEK else "%H:%M"
    return f"{first:{form}} to {last:{form}}"
