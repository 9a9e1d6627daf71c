"""What all endpoints share of HTTP: bodies, batches, ids, times, problems, limits, the OpenAPI page."""
