"""Authentication and authorization: API keys, scopes, TLS and the bind rule."""
