"""Items from outside a catalogue, with which a small summarizer learns to copy names instead of reciting known ones.

A model that is trained on one catalogue alone never has to copy an unknown word: about other items, it answers with
words of its catalogue. These items have titles and genres from a much larger vocabulary: categories of shops and media,
and words invented from syllables, which depend on the seed.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from model_store.views import ItemView

_CATEGORIES = """
action, adventure, animation, biography, comedy, crime, documentary, drama, family, fantasy, history, horror, musical,
mystery, romance, sci-fi, sport, thriller, war, western, books, comics, poetry, cooking, travel, gardening, electronics,
headphones, laptops, phones, cameras, monitors, keyboards, shoes, sneakers, boots, sandals, shirts, jackets, dresses,
jeans, hats, bags, watches, jewelry, furniture, lamps, sofas, chairs, tables, rugs, curtains, bedding, tools, paint,
bikes, tents, fishing, skiing, yoga, running, football, tennis, golf, swimming, toys, puzzles, board games, video games,
strategy, simulation, racing, platformer, role playing, shooter, indie, arcade, baby, school, office, pets, dogs, cats,
beauty, perfume, makeup, skin care, hair care, vitamins, coffee, tea, chocolate, wine, cheese, pasta, snacks, organic,
vegan, rock, pop, classical, country, metal, reggae, soul, hip hop, indie rock, dance, piano, guitar, podcasts, news,
politics, economics, science, physics, biology, medicine, philosophy, religion, art, design, photography, architecture,
fashion, nature, animals, cars, motorcycles, trains, aviation, garden tools, kitchenware, home decor, smart home, audio,
wireless, portable, vintage, luxury, budget, kids, teens, women, men, outdoor, indoor, winter, summer, noir, anime,
k-pop
"""
CATEGORIES = tuple(name.strip() for name in _CATEGORIES.split(","))
_COMMON_WORDS = """
last first night day house road king queen dream story world secret lost little great black light dark fire water
heart game girl boy man woman city life love death return rise fall edge heaven garden letter winter blood stone
glass paper silver iron street room window door train ship bridge tower song machine code signal engine ultra pro
max mini set pack kit case cable stand holder cover charger speaker bottle wooden leather cotton steel ceramic
edition volume part season guide handbook introduction complete essential modern simple easy new best of for with
in on to from without inside under beyond after before
"""
_TITLE_WORDS = tuple(_COMMON_WORDS.split())
_CLUSTERS = ("br", "ch", "cl", "dr", "fl", "gr", "kl", "pl", "qu", "sh", "sk", "sl", "st", "th", "tr")
_ONSETS = (*_CLUSTERS, *"bcdfghjklmnprstvwyz")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "oo", "ou")
_CODAS = ("", "", "", "n", "r", "l", "s", "t", "m", "ck", "nd", "st", "x")
_ALPHABETS = (
    "абвгдежзиклмнопрстуфхя",
    "αβγδεζηθικλμνξοπρστυφω",
    "àáâãäåçèéêëíîïñóôöúûüß",
    "日本語中国文書映画愛夢山川花",
)


def invented_word(rng: random.Random) -> str:
    """A pronounceable word of two or three syllables."""
    syllables = rng.choice((2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))


@dataclass(frozen=True, slots=True)
class ForeignItems:
    """Draws items whose genres are in `names`, and whose titles no rule understands."""

    names: tuple[str, ...]

    @classmethod
    def create(cls, seed: str, categories: Iterable[str], invented: int) -> "ForeignItems":
        """Take `categories`, and add `invented` genre names that depend only on the seed."""
        rng = random.Random(f"foreign {seed}")
        words = dict.fromkeys(categories)
        words |= dict.fromkeys(invented_word(rng) for _ in range(invented))
        return cls(tuple(words))

    def related_names(self, rng: random.Random) -> tuple[str, ...]:
        """A few names for the items of one history."""
        return tuple(rng.sample(self.names, min(len(self.names), rng.randint(3, 8))))

    def item(self, names: tuple[str, ...], rng: random.Random) -> ItemView:
        """An item with up to three genres of `names`, without a picture."""
        genres = rng.sample(names, min(len(names), rng.choices((0, 1, 2, 3), (1, 5, 5, 3))[0]))
        written = tuple(name.title() for name in genres) if rng.random() < 0.4 else tuple(genres)
        return ItemView(title(rng), written)


def title(rng: random.Random) -> str:
    """A title of one to six words, invented or common, sometimes with a number or in another alphabet."""
    words = [_title_word(rng) for _ in range(rng.choices((1, 2, 3, 4, 6), (2, 4, 4, 3, 1))[0])]
    if rng.random() < 0.15:
        words.append(
            rng.choice((f"({rng.randint(1950, 2026)})", f"Vol. {rng.randint(1, 12)}", f"{rng.randint(2, 64)}GB"))
        )
    return " ".join(words)


def _title_word(rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.06:
        letters = rng.choice(_ALPHABETS)
        return "".join(rng.choice(letters) for _ in range(rng.randint(2, 7)))
    word = invented_word(rng) if chance < 0.45 else rng.choice(_TITLE_WORDS)
    return word.capitalize() if rng.random() < 0.8 else word
