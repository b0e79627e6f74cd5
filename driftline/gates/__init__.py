"""Run a version's gates in a separate process; the commands `gates`, `gate` and `golden`."""
