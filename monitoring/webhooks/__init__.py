"""Webhooks: body, signature, adapters, egress guard and delivery."""
