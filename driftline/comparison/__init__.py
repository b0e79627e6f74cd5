"""Compare two versions on logged requests: agreement, scores, segments, calibration, latency."""
