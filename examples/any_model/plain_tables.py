"""Tables: a detector of unusual rows, and a model that predicts several numbers."""

import numpy as np
from example import Example
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import Ridge


def anomalies() -> Example:
    """Return a model from the analysis of a wine to a label, -1 if it is unusual, and a score."""
    wines, _ = load_wine(return_X_y=True, as_frame=True)
    wines = wines.sample(frac=1, random_state=0).astype(np.float32).reset_index(drop=True)
    model = IsolationForest(n_estimators=30, random_state=0).fit(wines[:90])
    return Example(model, reference=wines[90:].reset_index(drop=True))


def several_numbers() -> Example:
    """Return a model from age, sex and six blood values to body mass index and blood pressure."""
    frame, _ = load_diabetes(return_X_y=True, as_frame=True)
    columns = [name for name in frame.columns if name not in {"bmi", "bp"}]
    model = Ridge(alpha=0.1).fit(frame[columns][:200], frame[["bmi", "bp"]][:200])
    return Example(model, reference=frame[columns][200:].reset_index(drop=True))
