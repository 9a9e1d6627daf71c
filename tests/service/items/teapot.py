"""An item as a caller puts it."""

TEAPOT = {
    "title": "Teapot",
    "description": "Holds one litre.",
    "genres": ["kitchen"],
    "tags": ["tea", "blue"],
    "attributes": {"price": 39.5, "sizes": [1, 2]},
}
