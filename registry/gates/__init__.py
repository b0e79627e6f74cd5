"""Gates: what a version must pass, the outcome of each, and the report of a run. Runs no model."""
