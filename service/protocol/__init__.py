"""Pure codecs of the Open Inference Protocol, between its encodings and NumPy arrays."""
