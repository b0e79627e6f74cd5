"""Versions from an MLflow registry: import, follow, and the export of verdicts as tags."""
