"""Who may call: keys, what each allows, and which addresses may be bound without any."""
