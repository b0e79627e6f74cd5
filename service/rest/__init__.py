"""The REST port: the Open Inference Protocol under /v2, /predict and /v1/feedback."""
