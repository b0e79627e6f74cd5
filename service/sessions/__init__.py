"""Sessions of ONNX Runtime, in the worker or in a process of their own."""
