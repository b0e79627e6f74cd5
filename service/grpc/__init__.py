"""The gRPC port: inference.GRPCInferenceService, health and reflection."""
