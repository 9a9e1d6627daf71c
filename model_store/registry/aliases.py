"""The aliases of a model: which version each names, and every promotion, rollback and end.

`<store>/<name>/aliases.toml` has a list of entries for each alias, oldest first:

    [[canary]]
    action = "promote"      # or "rollback", or "end"
    version = 4
    share = 0.1             # of the users; canary only
    urls = ["http://10.0.0.7:8000"]
    at = 2026-11-27T14:00:00Z
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_store.registry.manifest import ManifestError

PRODUCTION, CANARY, SHADOW = "production", "canary", "shadow"
MOST_URLS = 64
Histories = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version behind an alias.

    Args:
        share: 0..1, the users that a canary ranks for.
        urls: the servers that serve this version under its id; empty for those of the settings.
    """

    version: int
    share: float = 1.0
    urls: tuple[str, ...] = ()

    def fields(self, alias: str) -> dict[str, Any]:
        """What an entry of `alias` has of it."""
        share = {"share": self.share} if alias == CANARY else {}
        return {"version": self.version, **share, **({"urls": list(self.urls)} if self.urls else {})}


def parse_histories(content: bytes, where: str) -> Histories:
    """The entries of each alias; `where` names the file in errors.

    Raises:
        ManifestError: it is not TOML, or an entry is malformed.
    """
    try:
        histories: Histories = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{where} is not TOML: {error}") from None
    for alias, entries in histories.items():
        try:
            if not isinstance(entries, list):
                raise TypeError("not a list of entries")
            stack(entries)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ManifestError(f"{where}: an entry of {alias!r} is malformed: {error!r}") from None
    return histories


def stack(entries: list[dict[str, Any]]) -> list[Promotion]:
    """The promotions that an alias can be rolled back to, and last the current one; empty for an alias that ended."""
    standing: list[Promotion] = []
    for entry in entries:
        match entry["action"]:
            case "promote":
                standing.append(_promotion(entry))
            case "rollback":
                standing.pop()
            case "end":
                standing.clear()
            case other:
                raise ValueError(f"no such action: {other!r}")
    return standing


def current(histories: Mapping[str, list[dict[str, Any]]]) -> dict[str, Promotion]:
    """What each alias names."""
    return {alias: standing[-1] for alias, entries in histories.items() if (standing := stack(entries))}


def versions_named(histories: Mapping[str, list[dict[str, Any]]]) -> set[int]:
    """Every version that an alias names or named."""
    return {int(entry["version"]) for entries in histories.values() for entry in entries if "version" in entry}


def servers_named(histories: Mapping[str, list[dict[str, Any]]], alias: str) -> dict[int, tuple[str, ...]]:
    """The servers of each version that an alias names or named; none for those of the settings.

    What `alias` names counts before what it named last, and that before the other aliases.
    """
    named: dict[int, tuple[str, ...]] = {}
    for one in (*(other for other in histories if other != alias), alias):
        entries = histories.get(one, [])
        promoted = [_promotion(entry) for entry in entries if entry["action"] == "promote"]
        named |= {promotion.version: promotion.urls for promotion in (*promoted, *stack(entries)[-1:])}
    return named


def _promotion(entry: Mapping[str, Any]) -> Promotion:
    share, urls = float(entry.get("share", 1.0)), entry.get("urls", [])
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is not in 0..1")
    if len(urls) > MOST_URLS or not all(isinstance(url, str) for url in urls):
        raise ValueError(f"urls are at most {MOST_URLS} texts")
    return Promotion(int(entry["version"]), share, tuple(urls))
