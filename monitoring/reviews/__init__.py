"""The review queue: the selection of rows that people label, and the weights of their labels."""
