"""Verdicts about rollouts: which version fails for more routing keys."""
