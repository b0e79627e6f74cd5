"""The gRPC transport: inference.GRPCInferenceService."""
