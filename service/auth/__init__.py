"""Authorization: the scope that each route and method requires, and the checks at start-up."""
