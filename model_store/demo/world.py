"""A synthetic world with known tastes of the users, which makes the best possible recommendations computable.

Every item has four attributes. *Colour* and *shape* show only in its picture; *genre* and *theme*
only in its text (the theme as one of its title words). A user likes some values of each attribute
and dislikes others; every ten to twenty events the likes of one attribute change. An item's
affinity is the number of its liked values minus that of its disliked ones.

Most events are choices among all items, by affinity and popularity; the rest are exposures, by
popularity alone. A `like` or `dislike` follows the affinity, with noise.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.data.dataset import IMAGES, ITEMS, item_line, write_interactions
from model_store.data.rows import InteractionRow
from model_store.demo.drawing import COLOURS, SHAPES, draw

TASTES = "tastes.jsonl"
GENRES = ("jazz", "folk", "techno", "opera", "blues", "punk", "ambient", "salsa")
THEMES: dict[str, tuple[str, ...]] = {
    "sea": ("harbor", "tide", "island"),
    "mountain": ("summit", "glacier", "valley"),
    "city": ("subway", "avenue", "rooftop"),
    "space": ("comet", "orbit", "moon"),
    "forest": ("willow", "moss", "fern"),
    "kitchen": ("bread", "pepper", "honey"),
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "genre": GENRES,
    "theme": tuple(THEMES),
}
_FRAMES = ("{name} and the {word}", "{name} at the {word}", "{name} on the {word}", "The {word} of {name}")
_ONSETS = ("Ba", "Di", "Fe", "Ga", "Ki", "Lo", "Mu", "Na", "Pe", "Ro", "Su", "Ta")
_ENDINGS = ("bel", "dra", "kin", "lio", "mar", "nox", "pha", "ris", "sol", "tun", "vey", "zan")
_EPOCH = 1_750_000_000
_LIKED_VALUES = 2
_DISLIKED_VALUES = 2
Range = tuple[int, int]
EVENTS, DRIFT_EVERY = (24, 60), (10, 20)
"""Events of a user, and events between two changes of taste, drawn evenly from these ranges."""
_CHOSEN = 0.8
"""The share of events that are choices; the rest are exposures."""
_AFFINITY_WEIGHT, _POPULARITY_WEIGHT = 3.0, 0.4
_LIKE_AT, _SHARPNESS = 1.5, 2.5
"""The affinity at which a `like` has probability 1/2, and the slope of its logistic curve."""


@dataclass(frozen=True, slots=True)
class WorldItem:
    """One item and the truth about it: attribute -> value."""

    item_id: str
    title: str
    attributes: dict[str, str]

    @property
    def caption(self) -> str:
        return f"A {self.attributes['colour']} {self.attributes['shape']}."


@dataclass(frozen=True, slots=True)
class Taste:
    """What a user likes and dislikes from event number `since` on: attribute -> values."""

    since: int
    likes: dict[str, tuple[str, ...]]
    dislikes: dict[str, tuple[str, ...]]

    def affinity(self, attributes: dict[str, str]) -> int:
        """Liked values minus disliked values of an item, -4..4."""
        liked = sum(value in self.likes[name] for name, value in attributes.items())
        return liked - sum(value in self.dislikes[name] for name, value in attributes.items())


def generate(
    folder: Path, *, seed: int, items: int, users: int, picture_side: int = 96, events: Range = EVENTS
) -> None:
    """Write the world, which depends only on the seed, as a dataset folder with `tastes.jsonl` (user, taste, since).

    Args:
        folder: created if missing; files of an earlier world are overwritten.
        picture_side: width and height of the pictures in pixels.
        events: the least and the greatest number of events of a user.

    Raises:
        ValueError: there are fewer items than a user has events.
    """
    if items < events[1]:
        raise ValueError(f"users of up to {events[1]} events need as many items, not {items}")
    catalogue = make_items(items, seed)
    write_catalogue(folder, catalogue, seed, picture_side)
    rows: list[InteractionRow] = []
    with (folder / TASTES).open("w", encoding="utf-8") as tastes:
        for user_id, history, periods in simulate(catalogue, users, seed, events):
            rows += [InteractionRow(user_id, item_id, moment, type=kind) for item_id, moment, kind in history]
            for taste in periods:
                line = {"user_id": user_id, "since": taste.since, "likes": taste.likes, "dislikes": taste.dislikes}
                tastes.write(json.dumps(line) + "\n")
    write_interactions(folder, rows)


def make_items(count: int, seed: int) -> list[WorldItem]:
    """Draw the catalogue: attributes at random, distinct titles, and names that are independent of the attributes."""
    rng = random.Random(f"items {seed}")
    names = [onset + ending for onset in _ONSETS for ending in _ENDINGS]
    rng.shuffle(names)
    items, titles = [], set[str]()
    for number in range(count):
        attributes = {name: rng.choice(values) for name, values in ATTRIBUTES.items()}
        while (title := _title(attributes["theme"], names[number % len(names)], rng)) in titles:
            pass
        titles.add(title)
        items.append(WorldItem(f"item-{number + 1:04}", title, attributes))
    return items


def _title(theme: str, name: str, rng: random.Random) -> str:
    return rng.choice(_FRAMES).format(name=name, word=rng.choice(THEMES[theme]))


def write_catalogue(folder: Path, catalogue: list[WorldItem], seed: int, picture_side: int = 96) -> None:
    """Write `items.jsonl` and `images/`."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    with (folder / ITEMS).open("w", encoding="utf-8") as lines:
        for item in catalogue:
            image = f"{item.item_id}.jpg"
            rng = random.Random(f"{item.item_id} {seed}")
            picture = draw(item.attributes["colour"], item.attributes["shape"], picture_side, rng)
            picture.save(folder / IMAGES / image, quality=92, subsampling=0)
            line = {
                "item_id": item.item_id,
                "title": item.title,
                "genres": [item.attributes["genre"]],
                "image": image,
                "caption": item.caption,
            }
            lines.write(item_line(line))


def simulate(
    catalogue: list[WorldItem], users: int, seed: int, events: Range = EVENTS
) -> Iterator[tuple[str, list[tuple[str, int, str]], list[Taste]]]:
    """Yield (user id, events as (item id, time, type), tastes over time) of every user."""
    rng = np.random.default_rng([seed, 1])
    popularity = rng.permutation(1.0 / np.arange(1, len(catalogue) + 1) ** 0.8)
    for number in range(users):
        person = random.Random(f"user {number} {seed}")
        yield f"user-{number + 1:05}", *_live(person, rng, catalogue, popularity, events)


def _live(
    person: random.Random,
    rng: np.random.Generator,
    catalogue: list[WorldItem],
    popularity: npt.NDArray[np.float64],
    count: Range,
) -> tuple[list[tuple[str, int, str]], list[Taste]]:
    events: list[tuple[str, int, str]] = []
    tastes = [_first_taste(person)]
    moment = _EPOCH + person.randrange(30 * 86_400)
    change = person.randint(*DRIFT_EVERY)
    affinity = _affinities(tastes[-1], catalogue)
    seen = np.zeros(len(catalogue), dtype=bool)
    for number in range(person.randint(*count)):
        if number == change:
            tastes.append(_drifted(tastes[-1], number, person))
            affinity = _affinities(tastes[-1], catalogue)
            change += person.randint(*DRIFT_EVERY)
        weight = popularity**_POPULARITY_WEIGHT * ~seen
        if person.random() < _CHOSEN:
            weight = weight * np.exp(_AFFINITY_WEIGHT * affinity)
        index = int(rng.choice(len(catalogue), p=weight / weight.sum()))
        seen[index] = True
        moment += person.randint(20, 4 * 3600)
        events.append((catalogue[index].item_id, moment, _reaction(float(affinity[index]), person)))
    return events, tastes


def _affinities(taste: Taste, catalogue: list[WorldItem]) -> npt.NDArray[np.float64]:
    return np.array([taste.affinity(item.attributes) for item in catalogue], dtype=np.float64)


def _reaction(affinity: float, person: random.Random) -> str:
    likes = 1 / (1 + np.exp(-_SHARPNESS * (affinity - _LIKE_AT)))
    if person.random() < likes:
        return "like"
    return "dislike" if affinity <= 0 and person.random() < 0.8 else "view"


def _first_taste(person: random.Random) -> Taste:
    drawn = {name: _values(values, person) for name, values in ATTRIBUTES.items()}
    return Taste(0, {n: likes for n, (likes, _) in drawn.items()}, {n: dislikes for n, (_, dislikes) in drawn.items()})


def _drifted(taste: Taste, since: int, person: random.Random) -> Taste:
    name = person.choice(list(ATTRIBUTES))
    fresh = [value for value in ATTRIBUTES[name] if value not in taste.likes[name]]
    likes, dislikes = _values(fresh, person)
    return Taste(since, {**taste.likes, name: likes}, {**taste.dislikes, name: dislikes})


def _values(values: tuple[str, ...] | list[str], person: random.Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    drawn = tuple(person.sample(values, _LIKED_VALUES + _DISLIKED_VALUES))
    return drawn[:_LIKED_VALUES], drawn[_LIKED_VALUES:]
