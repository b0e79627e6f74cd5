"""Load: what it costs, side by side on one machine."""
