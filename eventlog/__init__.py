"""The events that serving and monitoring share, and the logs they travel on."""
