"""Gates (checks that a version must pass), their outcomes and reports. Runs no model."""
