"""Open Inference Protocol: pure codecs between its encodings and NumPy arrays."""
