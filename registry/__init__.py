"""The registry: models, their versions, and the aliases that point to versions."""
