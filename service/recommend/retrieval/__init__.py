"""Candidates for a request: the caller's, or those that a row of stages finds for the user."""
