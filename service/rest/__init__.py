"""The REST transport: the Open Inference Protocol's /v2 routes, and /v1/feedback."""
