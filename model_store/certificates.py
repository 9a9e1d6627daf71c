"""The authorities whose certificates are trusted."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Those of the environment or of certifi, read once: it takes 20 ms, and a process opens many clients."""
    return httpx.create_ssl_context()
