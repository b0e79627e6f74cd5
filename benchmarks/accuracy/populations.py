"""Generate rows of a synthetic population, or of the flights out of New York in March."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.ensemble import HistGradientBoostingClassifier

from examples.flights import data
from monitoring.scoring.reference import Baseline
from registry.manifest import Feature, Manifest, Monitoring, Prediction, Version
from registry.own_columns import TIME

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]

_CITIES = ["a", "b", "c", "d", "e", "f"]
_SHARES = [0.35, 0.25, 0.15, 0.1, 0.1, 0.05]
_MISSING = 0.05


def unchanged(frame: pd.DataFrame, _chance: np.random.Generator) -> pd.DataFrame:
    """Return the frame unchanged."""
    return frame


class Population:
    """Generator of rows with a model's predictions. The features repeat five kinds:

    normal; correlated with the previous feature (0.8); lognormal; six categories; normal with 5 %
    missing values. The first five features determine the label; the others are noise.
    """

    def __init__(self, columns: int) -> None:
        """Create a population of `columns` features, a multiple of five."""
        self.names = [f"{'nplcm'[place % 5]}{place}" for place in range(columns)]
        self.features = [
            Feature(name, "categorical" if name[0] == "c" else "numeric", nullable=name[0] == "m")
            for name in self.names
        ]

    def draw(
        self,
        chance: np.random.Generator,
        rows: int,
        change: Change = unchanged,
        flipped: float = 0.0,
        lift: float = 0.0,
    ) -> pd.DataFrame:
        """Return features, `prediction`, `probability_<class>` and `label`.

        `change` transforms the features before labels and predictions are computed. `flipped` is
        the share of inverted labels. `lift` is added to the log odds of the positive class; the
        distribution of rows within each class does not change.
        """
        frame = change(self._features(chance, rows * (4 if lift else 1)), chance)
        true = chance.random(len(frame)) < _sigmoid(0.9 * _margin(frame))
        if lift:
            weight = np.where(true, np.exp(lift), 1.0)
            places = chance.choice(len(frame), rows, p=weight / weight.sum())
            frame, true = frame.iloc[places].reset_index(drop=True), true[places]
        turned = chance.random(rows) < flipped
        p = _sigmoid(_margin(frame))
        return frame.assign(
            prediction=(p > 0.5).astype(int),
            probability_0=1 - p,
            probability_1=p,
            label=(true ^ turned).astype(int),
        )

    def _features(self, chance: np.random.Generator, rows: int) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        before = np.zeros(rows)
        for name in self.names:
            normal = chance.normal(size=rows)
            if name[0] == "p":
                normal = 0.8 * before + 0.6 * normal
            elif name[0] == "l":
                normal = np.exp(0.5 * normal)
            elif name[0] == "m":
                normal[chance.random(rows) < _MISSING] = np.nan
            columns[name] = chance.choice(_CITIES, rows, p=_SHARES) if name[0] == "c" else normal
            before = normal
        return pd.DataFrame(columns)


def flights() -> pd.DataFrame:
    """Return the example's reference: three weeks of March in time order, with predictions."""
    frame = data.load()
    frame = frame[frame[data.TARGET].notna() & (frame["month"] <= 3)].sort_values("event_time")
    codes = frame[data.FEATURES].copy()
    for name in data.CATEGORICAL:
        codes[name] = pd.factorize(codes[name])[0]
    test_rows = (
        frame["event_time"] >= pd.Timestamp("2013-03-11", tz="America/New_York").value // 1000
    )
    model = HistGradientBoostingClassifier(random_state=1, max_iter=60)
    model.fit(codes[~test_rows], frame.loc[~test_rows, data.TARGET])
    p = model.predict_proba(codes[test_rows])[:, 1]
    return (
        frame.loc[test_rows, data.FEATURES]
        .assign(
            prediction=(p > 0.5).astype(int),
            probability_0=1 - p,
            probability_1=p,
            label=frame.loc[test_rows, data.TARGET].astype(int),
        )
        .reset_index(drop=True)
    )


def features_of(frame: pd.DataFrame) -> list[Feature]:
    """Return the features of a drawn frame, with kinds inferred from their values."""
    others = ("prediction", "prob", "label", TIME)
    names = [name for name in frame if not str(name).startswith(others)]
    return [
        Feature(
            str(name), "numeric" if is_numeric_dtype(frame[name]) else "categorical", nullable=True
        )
        for name in names
    ]


def baseline(folder: Path, frame: pd.DataFrame, monitoring: Monitoring) -> Baseline:
    """Return the baseline of a version whose reference is `frame`."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "reference.parquet")
    manifest = Manifest(
        task="classification",
        features=features_of(frame),
        prediction=Prediction("prediction", "probabilities", [0, 1], 1),
        target="label",
        event_time=TIME if TIME in frame else "",
        held_out=True,
        monitoring=monitoring,
    )
    version = Version(
        model="m", number="1", digest="", created=0, manifest=manifest, path=str(folder)
    )
    return Baseline(version)


def _margin(frame: pd.DataFrame) -> Any:
    n, p, ln, c, m = (frame[name] for name in frame.columns[:5])
    return n + 0.8 * p - 0.6 * np.log(ln) + 0.7 * c.isin(["a", "b"]) + 0.5 * m.fillna(0.0) - 0.4


def _sigmoid(margin: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(margin, dtype=float)))
