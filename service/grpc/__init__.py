"""gRPC: inference.GRPCInferenceService, health and reflection."""
