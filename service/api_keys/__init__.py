"""API keys at rest: what a line of the keys file says, and how the file is changed."""
