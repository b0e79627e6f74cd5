"""Several monitors on one log: each reads its part, one of them takes in what all have read."""
