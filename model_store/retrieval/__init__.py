"""Retrieval by vectors, as the service and the evaluation do it. No torch."""
