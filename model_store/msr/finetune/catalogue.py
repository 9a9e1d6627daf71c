"""A dataset as the prompts show it: items, interactions, and the users' summaries."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from model_store.data.dataset import Dataset, DatasetItem, Interaction
from model_store.data.summaries import UserSummaries
from model_store.views import InteractionView, ItemView, UserView

_PICTURES = 512
"""Encoded pictures kept in memory: popular items are shown again and again."""


class Catalogue:
    """Views of items and users, whose pictures are read when they are needed.

    Args:
        pictures: whether candidates show their pictures.
        recents: how many of the last interactions a prompt shows.
    """

    def __init__(self, dataset: Dataset, summaries: UserSummaries, *, pictures: bool, recents: int) -> None:
        self.dataset, self._pictures, self._summaries, self._recents = dataset, pictures, summaries, recents
        self._read = lru_cache(_PICTURES)(Path.read_bytes)

    def candidate(self, item_id: str) -> ItemView:
        """The item as a candidate, with its picture."""
        item = self.dataset.items[item_id]
        view = _view(item)
        return replace(view, image=self._read(item.image)) if self._pictures and item.image else view

    def user(self, user_id: str, events: int) -> UserView:
        """The user after the first `events` interactions, as the service would show the moment."""
        past = self.dataset.histories[user_id][max(0, events - self._recents) : events]
        summary = self._summaries.at(user_id, events).summary
        return UserView(summary, tuple(self._interaction(event) for event in past))

    def _interaction(self, event: Interaction) -> InteractionView:
        item = self.dataset.items.get(event.item_id)
        return InteractionView(event.type, None if item is None else _view(item), event.value)


def _view(item: DatasetItem) -> ItemView:
    return ItemView(item.title, item.genres, item.tags, item.description, item.summary)
