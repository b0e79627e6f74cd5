"""Authorization: which scope each route and method requires, and the start-up checks."""
