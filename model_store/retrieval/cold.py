"""Which items an evaluation hides from all training, so that they stand for new ones."""

import hashlib


def is_cold(item_id: str, seed: int, share: float) -> bool:
    """Whether an item is one of the `share` (0..1) of items that are hidden; depends on its id and `seed` alone."""
    digest = hashlib.blake2b(item_id.encode(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64
