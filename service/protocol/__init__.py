"""The Open Inference Protocol: pure codecs between its bytes and NumPy arrays."""
