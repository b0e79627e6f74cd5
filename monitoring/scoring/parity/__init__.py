"""Re-runs of the model on logged rows, for prediction parity and the effect of drift."""
