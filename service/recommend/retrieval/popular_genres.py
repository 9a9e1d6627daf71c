"""Popular items by genre, kept in memory: for the genres of a user's recents, and a diverse start for new users."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from model_store.retrieval.merge import alternating
from model_store.retrieval.shares import GENRES
from service.errors import StateUnavailable
from service.logs import get_logger
from service.recommend.retrieval.stages import InMemory
from service.state.records import Item
from service.state.store import Store

log = get_logger(__name__)
_RANKED, _AT_ONCE = 1000, 250
_REFRESH_S = 30.0
_NEW_USERS = 5
"""How many times the places a user without recents gets."""


class PopularGenres:
    """The most popular items of each genre, read anew every half minute."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_genre: dict[str, list[str]] = {}

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except StateUnavailable as error:
                log.warning("popular_genres_not_read", error=error.detail)
            except Exception:
                log.exception("popular_genres_failed")
            await asyncio.sleep(_REFRESH_S)

    async def refresh(self) -> None:
        """Read the ranking and its items.

        Raises:
            StateUnavailable: the store can't be read; what was known stays.
        """
        wave = self._store.wave()
        ranked = wave.add(self._store.cooccurrence.ranking(0, _RANKED))
        await wave.send()
        ids, found = ranked.value(), dict[str, list[str]]()
        for start in range(0, len(ids), _AT_ONCE):
            items = await self._store.items.get_many(ids[start : start + _AT_ONCE])
            for item in items.values():
                for genre in item.genres:
                    found.setdefault(genre, []).append(item.item_id)
        self._by_genre = found

    def of(self, genres: Collection[str]) -> list[str]:
        """The items of some genres, taken in turn, each genre's most popular first."""
        return alternating(*(self._by_genre.get(genre, []) for genre in genres))

    def diverse(self) -> list[str]:
        """The items of all genres in turn, those with the most popular items first."""
        return alternating(*self._by_genre.values())


class PopularInGenres(InMemory):
    """Popular items of the genres of the user's recents; for a user without recents, of all genres in turn."""

    name = "popular_genre"

    def __init__(self, popular: PopularGenres, quota: float, most: int | None) -> None:
        super().__init__(quota, most)
        self._popular = popular
        self._near: Sequence[str] = ()

    def begin(self, near: Sequence[str], seen: Collection[str]) -> None:
        self._near = near
        if not near:
            self.ids.extend(self._popular.diverse())
            self.most = None if self.most is None else _NEW_USERS * self.most
            self.done = True

    def know(self, items: Mapping[str, Item]) -> None:
        genres = Counter(genre for one in self._near if one in items for genre in items[one].genres)
        self.ids.extend(self._popular.of([genre for genre, _ in genres.most_common(GENRES)]))
        self.done = True
