"""Performance of a window: realised from labels, estimated without them."""
