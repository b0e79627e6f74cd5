"""Define the events that serving and monitoring share, and the logs that contain them."""
