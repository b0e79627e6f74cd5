"""Results become alarms and retraining requests. Pure."""
