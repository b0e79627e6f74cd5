"""Verdicts on rollouts, from the routing keys for which either version answers badly."""
