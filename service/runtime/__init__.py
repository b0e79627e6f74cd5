"""Executing ONNX models."""
