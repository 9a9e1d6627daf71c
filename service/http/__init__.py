"""HTTP as every endpoint speaks it: bodies, batches, ids, times, problems, limits, the OpenAPI page."""
