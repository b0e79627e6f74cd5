"""Planted changes of rows, in several sizes."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from benchmarks.accuracy.populations import Change, unchanged


class Planted(msgspec.Struct, frozen=True):
    """One planted change and a description of its size."""

    kind: str
    size: str
    change: Change = unchanged
    flipped: float = 0.0
    lift: float = 0.0


def planted() -> list[Planted]:
    """Return all planted changes."""
    return [
        *(Planted("mean of one column", f"{by} sd", moved(by, 1)) for by in (0.1, 0.25, 0.5, 1.0)),
        *(Planted("mean of all numbers", f"{by} sd", moved(by, 99)) for by in (0.1, 0.2, 0.4)),
        *(Planted("spread of one column", f"x {by}", _spread(by)) for by in (1.25, 1.5, 2.0)),
        *(Planted("category mix", f"{by:.0%} moved", _mixed(by)) for by in (0.1, 0.2, 0.4)),
        *(Planted("missing values", f"+{by:.0%}", _missing(by)) for by in (0.05, 0.1, 0.2)),
        *(Planted("label shift", f"odds x {by}", lift=float(np.log(by))) for by in (1.5, 2.5, 5.0)),
        *(Planted("joint only", f"{by:.0%} of rows", _parted(by)) for by in (0.2, 0.4, 0.7, 1.0)),
        *(Planted("concept", f"{by:.0%} of labels", flipped=by) for by in (0.02, 0.05, 0.1, 0.2)),
    ]


def moved(by: float, columns: int) -> Change:
    """Return a shift of the first `columns` numeric columns by `by` standard deviations."""

    def change(frame: pd.DataFrame, _chance: np.random.Generator) -> pd.DataFrame:
        numeric = [name for name in frame if str(name)[0] != "c"][:columns]
        spread = {"l": 0.604}  # standard deviation of a lognormal with sigma 0.5
        return frame.assign(**{str(n): frame[n] + by * spread.get(str(n)[0], 1.0) for n in numeric})

    return change


def _spread(by: float) -> Change:
    def change(frame: pd.DataFrame, _chance: np.random.Generator) -> pd.DataFrame:
        return frame.assign(n0=frame["n0"] * by)

    return change


def _mixed(by: float) -> Change:
    def change(frame: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
        return frame.assign(c3=_replaced(frame["c3"], by, "f", chance))

    return change


def _missing(by: float) -> Change:
    def change(frame: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
        return frame.assign(m4=_replaced(frame["m4"], by, np.nan, chance))

    return change


def _replaced(values: Any, by: float, other: Any, chance: np.random.Generator) -> Any:
    return values.where(chance.random(len(values)) >= by, other)


def _parted(by: float) -> Change:
    """Return a change that permutes column p1 in a share of rows; all marginals stay the same."""

    def change(frame: pd.DataFrame, chance: np.random.Generator) -> pd.DataFrame:
        rows = np.flatnonzero(chance.random(len(frame)) < by)
        values = frame["p1"].to_numpy().copy()
        values[rows] = values[chance.permutation(rows)]
        return frame.assign(p1=values)

    return change
