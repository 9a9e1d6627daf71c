"""The names of tenants and API keys."""

import re

DEFAULT_TENANT = "default"
"""The tenant that every service has."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def read_name(text: str) -> str:
    """The name of a key or tenant. Raises ValueError if it is not one."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name: 1 to 64 lower-case letters, digits, '.', '_', '-'")
    return text
