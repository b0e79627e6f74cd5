"""Model versions in a worker: loading, routing, limits, model repository."""
