"""Candidates for a request: those of the caller, or those that the retrieval stages find for the user."""
