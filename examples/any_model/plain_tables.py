"""Tables: unusual rows, and several numbers at once."""

import numpy as np
from example import Example
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import Ridge


def anomalies() -> Example:
    """A wine's analysis in, -1 for an unusual one and its score out."""
    wines, _ = load_wine(return_X_y=True, as_frame=True)
    wines = wines.sample(frac=1, random_state=0).astype(np.float32).reset_index(drop=True)
    model = IsolationForest(n_estimators=30, random_state=0).fit(wines[:90])
    return Example(model, reference=wines[90:].reset_index(drop=True))


def several_numbers() -> Example:
    """Age, sex and six values of blood serum in; body mass index and blood pressure out."""
    frame, _ = load_diabetes(return_X_y=True, as_frame=True)
    columns = [name for name in frame.columns if name not in {"bmi", "bp"}]
    model = Ridge(alpha=0.1).fit(frame[columns][:200], frame[["bmi", "bp"]][:200])
    return Example(model, reference=frame[columns][200:].reset_index(drop=True))
