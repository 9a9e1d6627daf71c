"""Whose request it is: the tenant of its API key decides what it reads and writes."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from starlette.types import Scope

from service.http.auth import CALLER
from service.names import DEFAULT_TENANT

T = TypeVar("T")
U = TypeVar("U")


class PerTenant(Generic[T]):
    """One `T` for each tenant.

    Args:
        named: those of all tenants.
        keys: whether requests need an API key; otherwise all are of the tenant `default`.
    """

    def __init__(self, named: Mapping[str, T], *, keys: bool) -> None:
        self._keys = keys
        self._named = named
        # A request that should have a key but has none is of no tenant.
        self._found: dict[str | None, T] = dict(named.items()) if keys else {None: named[DEFAULT_TENANT]}

    def of(self, scope: Scope) -> T:
        """That of the tenant of a request. Raises KeyError if there is no such tenant."""
        key = scope.get(CALLER)
        return self._found[None if key is None else key.tenant]

    def map(self, part: Callable[[T], U]) -> "PerTenant[U]":
        """A part of each, such as its store."""
        return PerTenant({name: part(one) for name, one in self._named.items()}, keys=self._keys)
