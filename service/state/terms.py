"""Names of the lists of items by genre and by tag.

A term's name is eight characters of a digest, so that long terms take no more than short ones. Terms that share a name
share their lists: whoever reads one still has to look at the items themselves.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Literal

Field = Literal["genres", "tags"]
_DIGEST_BYTES = 6


def term_name(field: Field, term: str) -> str:
    """The name of a genre or of a tag."""
    digest = hashlib.blake2b(term.encode(), digest_size=_DIGEST_BYTES, person=field.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def term_names(genres: Iterable[str], tags: Iterable[str]) -> str:
    """The distinct names of an item's terms, one after the other."""
    names = [*(term_name("genres", genre) for genre in genres), *(term_name("tags", tag) for tag in tags)]
    return "".join(sorted(set(names)))
