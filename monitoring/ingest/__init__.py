"""Records of the log become counters, rows and labels."""
