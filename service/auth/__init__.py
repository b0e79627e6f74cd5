"""Who may call the service: its routes and methods with their scopes, and the doors before them."""
