"""Re-run the model on logged rows: prediction parity, and the effect of drift."""
