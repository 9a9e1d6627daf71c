"""Bounds of the options of a request, which the OpenAPI page shows."""

MOST_CHARS, MOST_CONDITIONS, MOST_VALUES, MOST_LEVELS = 4000, 50, 200, 10
"""Of an expression: its length, its tests, the values in all its lists, and how deep `(` and `not` may be nested."""
MOST_EXCLUDED = 1000
"""Ids of items that must not be in the answer."""
MOST_PAGED = 1000
"""Items on all pages of one recommendation."""
MOST_BOOSTS, LEAST_FACTOR, MOST_FACTOR = 10, 0.1, 10.0
MOST_CAPS, MOST_PER_VALUE = 5, 100
"""Fields that caps are set for, and the largest cap."""
