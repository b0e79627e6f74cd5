"""Load: whether a running service keeps its objectives, and what a request costs beside others."""
