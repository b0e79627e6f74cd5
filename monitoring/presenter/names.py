"""Display names of performance metrics and baselines."""

from monitoring.presenter.formats import period
from monitoring.results import Window
from registry.baselines import BaselineRecord

PERFORMANCE = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "mape": "mean absolute percentage error",
    "bias": "bias",
}


def baseline_name(baseline: BaselineRecord) -> str:
    """Return a baseline's origin and period, for use in a sentence."""
    span = period(Window(baseline.start, baseline.end))
    if baseline.origin == "chosen":
        return f"the baseline chosen from production, {span}"
    return f"the baseline learned from production, {span}"
