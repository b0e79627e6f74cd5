"""Baselines for versions without a registered reference: learned from production, or chosen."""
