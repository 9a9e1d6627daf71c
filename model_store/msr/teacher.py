"""The rule-based teacher, which writes the training targets of the small summarizer in place of a large model.

The target of `summary[n] = LLM(summary[n-1], block)` depends on the past only through the text of the
old summary. A summary is two ordered lists of terms, the most certain first, in one fixed form:

    Likes jazz, red, circle, harbor. Avoids punk, square.

A term's place is its weight. Folding a block

1. weights each term of the old lists by its place, the last one 1, the one before it 2, ...;
2. adds 4 for each liked event of the block that shows the term, and subtracts 4 for each disliked
   one (the other way round for the list of avoided terms);
3. sorts by weight, the more recent first among equals, drops terms that are not above 0, and cuts
   the lists to their lengths.

A confirmed term rises, a contradicted one is dropped, and an unconfirmed one sinks below newer ones
until it is cut off.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_store.signals import BUILT_IN, Signals
from model_store.views import InteractionView, ItemView

_FORM = re.compile(r"\s*Likes (?P<likes>[^.]*)\.(?: Avoids (?P<avoids>[^.]*)\.)?\s*")
_NOTHING = "nothing yet"
_EVENT_WEIGHT = 4
_WORD = re.compile(r"[^\W\d_]{3,}")
_MARKS = re.compile(r"[,.\s]+")
_STOP_WORDS = """
about above after again all also and any are because been before being below between both but can did does down during
each few for from further had has have her here him his how into its just let like more most much new nor not now off
old once one only other our out over own same she should some such than that the their them then there these they this
those through too two under until upon very was way were what when where which while who why will with you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Summary:
    """The terms of a summary, the most certain first."""

    likes: tuple[str, ...] = ()
    avoids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleBasedTeacher:
    """The lengths of the lists, and what events mean."""

    likes: int = 10
    avoids: int = 4
    signals: Signals = BUILT_IN

    def fold(self, old: str, block: Sequence[InteractionView], terms: "TermFinder") -> str:
        """Write the summary that follows `old` after the events of `block`, oldest first."""
        liked, disliked = Counter[str](), Counter[str]()
        latest: dict[str, int] = {}
        for moment, event in enumerate(block, 1):
            found = terms.of(event.item) if event.item is not None else ()
            signal = self.signals(event.type, event.value)
            if signal != "neutral":
                (liked if signal == "positive" else disliked).update(found)
                latest.update(dict.fromkeys(found, moment))
        before = parse(old)
        likes = _update(before.likes, liked, disliked, latest, self.likes)
        avoids = _update(before.avoids, disliked, liked, latest, self.avoids)
        return render(Summary(likes, tuple(term for term in avoids if term not in likes)))


def _update(
    old: Sequence[str], up: Counter[str], down: Counter[str], latest: dict[str, int], length: int
) -> tuple[str, ...]:
    weights = {term: len(old) - place for place, term in enumerate(old)}
    for term in dict.fromkeys((*old, *up)):
        weights[term] = weights.get(term, 0) + _EVENT_WEIGHT * (up[term] - down[term])
    kept = [term for term, weight in weights.items() if weight > 0]
    kept.sort(key=lambda term: (-weights[term], -latest.get(term, 0)))
    return tuple(kept[:length])


@dataclass(frozen=True, slots=True)
class TermFinder:
    """Finds an item's terms: its genres and tags in `names`, and the words of title and summary in `words`."""

    names: frozenset[str]
    words: frozenset[str]

    def with_names(self, names: Iterable[str]) -> "TermFinder":
        """A finder with additional genres and tags."""
        return TermFinder(self.names | {normalize(name) for name in names}, self.words)

    def of(self, item: ItemView) -> tuple[str, ...]:
        """The terms of `item`, each once."""
        names = [name for name in names_of(item) if name in self.names]
        words = [word for word in words_of(f"{item.title} {item.summary}") if word in self.words]
        return tuple(dict.fromkeys((*names, *words)))

    @classmethod
    def learn(cls, items: Sequence[ItemView], minimum: int = 5) -> "TermFinder":
        """Take the names of at least `minimum` items, and the words of at least `minimum` and 1 % of the items.

        Nothing could be learned about a term of one or two items.
        """
        names, words = Counter[str](), Counter[str]()
        for item in items:
            names.update(set(names_of(item)))
            words.update(set(words_of(f"{item.title} {item.summary}")))
        enough = max(minimum, 0.01 * len(items))
        return cls(
            frozenset(name for name, count in names.items() if count >= minimum),
            frozenset(word for word, count in words.items() if count >= enough),
        )


def names_of(item: ItemView) -> list[str]:
    """The genres and the first tags, normalized."""
    return [name for text in (*item.genres, *item.tags[:4]) if (name := normalize(text))]


def words_of(text: str) -> list[str]:
    """The words of at least three letters, in lower case, without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def normalize(term: str) -> str:
    """A term in the form of a summary: lower case, one line, without the marks that separate terms."""
    return _MARKS.sub(" ", term.lower()).strip()


def render(summary: Summary) -> str:
    """Write the lists as the text that `parse` reads."""
    likes = f"Likes {', '.join(summary.likes) or _NOTHING}."
    return f"{likes} Avoids {', '.join(summary.avoids)}." if summary.avoids else likes


def parse(text: str) -> Summary:
    """Read a summary; a text in any other form has no terms."""
    match = _FORM.fullmatch(text)
    if match is None:
        return Summary()
    likes = "" if match["likes"] == _NOTHING else match["likes"]
    return Summary(_terms(likes), _terms(match["avoids"] or ""))


def _terms(listed: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term for part in listed.split(",") if (term := part.strip())))
