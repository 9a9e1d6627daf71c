"""Bounds of the options of a request, which the OpenAPI page shows."""

MOST_CHARS, MOST_CONDITIONS, MOST_VALUES, MOST_LEVELS = 4000, 50, 200, 10
"""Of an expression: its length, its tests, the values in all its lists, and how deep `(` and `not` may be nested."""
MOST_EXCLUDED = 1000
"""Ids of items that must not be in the answer."""
