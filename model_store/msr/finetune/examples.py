"""Training pairs: a user at a moment, a candidate, and whether the user liked it next."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_store.data.dataset import Dataset
from model_store.data.negatives import Negatives
from model_store.data.targets import target_positions
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.catalogue import Catalogue
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.rendering import Renderer, example


@dataclass(frozen=True, slots=True)
class Pair:
    """`user_id` after the first `events` interactions, `item_id` as the candidate."""

    user_id: str
    events: int
    item_id: str
    liked: bool


def draw_pairs(dataset: Dataset, options: FinetuneOptions) -> list[Pair]:
    """The pairs of all training users, in random order; the same for the same seed and data.

    A positive is an item that the user liked at its first meeting, after at least one interaction. Its negatives are
    items of the catalogue that the user never met, also not later. Only users of the train split are used.

    Raises:
        FinetuneError: nothing to learn from.
    """
    users = dataset.users("train")
    rng = random.Random(f"pairs {options.seed}")
    liked = Counter(event.item_id for user in users for event in dataset.histories[user] if event.liked)
    draw = Negatives({item: liked[item] for item in dataset.items}, options.popular_negatives)
    pairs: list[Pair] = []
    for user in users:
        known = {event.item_id for event in dataset.histories[user]}
        for events, item in liked_moments(dataset, user)[-options.positives_per_user :]:
            pairs.append(Pair(user, events, item, True))
            pairs += [Pair(user, events, other, False) for other in draw(known, options.negatives, rng)]
    learned = {pair.user_id for pair in pairs}
    if len(learned) < 2 or all(pair.liked for pair in pairs):
        raise FinetuneError(
            f"of {len(dataset.histories)} users, {len(learned)} of the train split liked an item after another one; "
            "fine-tuning needs at least two of them, and items that they have not met (--data)"
        )
    rng.shuffle(pairs)
    return pairs


def liked_moments(dataset: Dataset, user: str) -> list[tuple[int, str]]:
    """The number of earlier events and the item, of each liked item that was new to the user, oldest first."""
    events = dataset.histories[user]
    return [(place, events[place].item_id) for place in target_positions(events, dataset.items)]


def lazy_rows(pairs: Sequence[Pair], catalogue: Catalogue, renderer: Renderer) -> Any:
    """The pairs as a `datasets.Dataset` of `prompt`, `completion` and `images`, rendered when they are read."""
    from datasets import Dataset as Rows

    def render(asked: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows = [_row(pairs[number], catalogue, renderer) for number in asked["number"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    return Rows.from_dict({"number": list(range(len(pairs)))}).with_transform(render)


def _row(pair: Pair, catalogue: Catalogue, renderer: Renderer) -> dict[str, Any]:
    user = catalogue.user(pair.user_id, pair.events)
    return example(renderer(user, catalogue.candidate(pair.item_id)), pair.liked)
