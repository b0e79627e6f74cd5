"""Sessions of ONNX Runtime, in the worker or in a separate process."""
