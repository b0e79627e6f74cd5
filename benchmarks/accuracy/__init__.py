"""Measure the monitor's false-alarm rate and detection delay: `make accuracy`."""
