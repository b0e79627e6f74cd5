"""Import of versions from an MLflow registry, once or continuously; export of verdicts as tags."""
