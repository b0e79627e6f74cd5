"""Score the segments of a window, and the fairness gaps between them."""
