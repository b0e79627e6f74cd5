"""Webhooks: body, signing, adapters, egress guard, delivery."""
