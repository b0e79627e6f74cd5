"""The review queue: which rows people label, and what their labels weigh."""
