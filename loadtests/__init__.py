"""Load tests: check whether a running service meets its objectives under load."""
