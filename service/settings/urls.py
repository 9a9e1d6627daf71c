"""URLs of servers and folders, in settings and options of commands."""

from collections.abc import Collection
from urllib.parse import urlsplit


def is_remote(folder: str) -> bool:
    """Whether a folder is an fsspec URL such as `s3://bucket/models`, and not a path."""
    return "://" in folder


def is_url(url: str, schemes: Collection[str]) -> bool:
    """Whether it is the URL of a server, with one of these schemes."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.path if parts.scheme == "unix" else parts.hostname)
