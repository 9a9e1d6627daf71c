"""A client of a running service: it knows the HTTP API and nothing else of the service."""
