"""Hand rows to people and log what they decide."""
