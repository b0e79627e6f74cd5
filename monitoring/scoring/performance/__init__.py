"""Performance scores: measured from labels, and estimated without labels."""
