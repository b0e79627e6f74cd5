"""Run versions on what another one answered: a reader of the log beside the service."""
